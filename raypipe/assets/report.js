"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const list = document.getElementById("videos");
  document.documentElement.classList.add("js");

  // On paper nothing can be opened.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = Array.from(document.querySelectorAll("details:not([open])"));
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of closed) one.open = false;
  });
  if (!list) return;

  const clock = (seconds) => {
    const tenths = Math.round(seconds * 10);
    const [hours, minutes] = [Math.floor(tenths / 36000), Math.floor(tenths / 600) % 60];
    const rest = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
    return (hours ? `${hours}:${String(minutes).padStart(2, "0")}` : minutes) + ":" + rest;
  };
  const number = (value) =>
    Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(3)));

  // What a timeline says at one of its steps.
  const words = (video, step) => {
    const parts = [clock(video.t[step]), `frame ${video.f[step].toLocaleString("en-US")}`];
    const score = video.s[step];
    parts.push(score === null ? "not scored" : `score ${number(score)}`);
    if (score !== null) parts.push(video.n[step] === 1 ? "1 object" : `${video.n[step]} objects`);
    if (video.a !== null) parts.push(video.a[step] === "1" ? "labelled abnormal" : "labelled normal");
    if (video.w.length && video.w[step] >= 0) parts.push(`highest: ${video.words[video.w[step]]}`);
    return parts.join(" \u00b7 ");
  };

  const show = (plot, step) => {
    const video = data.videos[Number(plot.dataset.video)];
    const last = video.s.length - 1;
    if (last < 0) return;
    step = Math.min(Math.max(step, 0), last);
    const said = words(video, step);
    plot.setAttribute("aria-valuenow", step);
    plot.setAttribute("aria-valuetext", said);
    const cursor = plot.querySelector(".cursor");
    cursor.style.display = "block";
    cursor.style.left = `${((step + 0.5) / (last + 1)) * 100}%`;
    plot.closest(".video").querySelector(".readout").textContent = said;
  };
  const stepAt = (plot, event) => {
    const place = plot.getBoundingClientRect();
    const steps = data.videos[Number(plot.dataset.video)].s.length;
    return Math.floor(((event.clientX - place.left) / place.width) * steps);
  };
  const follow = (event) => {
    const plot = event.target.closest(".plot");
    if (plot) show(plot, stepAt(plot, event));
  };
  list.addEventListener("pointermove", follow);
  list.addEventListener("pointerdown", follow);
  list.addEventListener("focusin", (event) => {
    if (event.target.matches(".plot")) show(event.target, Number(event.target.getAttribute("aria-valuenow")));
  });
  list.addEventListener("keydown", (event) => {
    if (!event.target.matches(".plot")) return;
    const now = Number(event.target.getAttribute("aria-valuenow"));
    const last = Number(event.target.getAttribute("aria-valuemax"));
    const moves = {
      ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1,
      PageDown: now - 10, PageUp: now + 10, Home: 0, End: last,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    show(event.target, moves[event.key]);
  });

  // Filter and order.
  const articles = Array.from(list.children);
  const field = (id) => document.getElementById(id);
  const orders = {
    score: (a, b) => b.score - a.score,
    name: (a, b) => a.name.localeCompare(b.name, "en", { numeric: true }),
    auc: (a, b) => a.auc - b.auc,
    length: (a, b) => b.length - a.length,
  };
  const facts = new Map(articles.map((article) => {
    const { name, score, auc, length, labels } = article.dataset;
    const value = (text, absent) => (text === "" ? absent : Number(text));
    return [article, { name, labels, score: value(score, -Infinity), auc: value(auc, Infinity), length: Number(length) }];
  }));
  const update = () => {
    const name = field("filter-name").value.trim().toLowerCase();
    const labels = field("filter-labels") ? field("filter-labels").value : "all";
    const least = field("filter-score").value === "" ? -Infinity : Number(field("filter-score").value);
    let shown = 0;
    for (const [article, fact] of facts) {
      const fits = fact.name.toLowerCase().includes(name) && (labels === "all" || labels === fact.labels) && fact.score >= least;
      article.hidden = !fits;
      shown += fits;
    }
    const order = orders[field("sort").value];
    articles.sort((a, b) => order(facts.get(a), facts.get(b)) || orders.name(facts.get(a), facts.get(b)));
    list.append(...articles);
    field("shown").textContent = shown === articles.length ? `All ${shown} videos` : `${shown} of ${articles.length} videos`;
  };
  for (const id of ["filter-name", "filter-labels", "filter-score", "sort"]) {
    if (field(id)) field(id).addEventListener("input", update);
  }
  // Called at once, too: a browser may have kept what was in the fields.
  const rescale = () => list.classList.toggle("own-scale", field("own-scale").checked);
  field("own-scale").addEventListener("change", rescale);
  rescale();
  update();
})();
