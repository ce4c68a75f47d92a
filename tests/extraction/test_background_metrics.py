import threading

from raypipe.extraction import other_drivers as sharing
from raypipe.extraction.other_drivers import BackgroundMetrics


def test_a_slow_server_holds_nothing_up(monkeypatch):
    monkeypatch.setattr(sharing, "SEND_SECONDS", 0.0)
    answers, sent, arrived = threading.Semaphore(0), [], threading.Semaphore(0)

    def log(metrics, step):
        sent.append((metrics, step))
        arrived.release()
        assert answers.acquire(timeout=60)

    send = BackgroundMetrics(log)
    send({"rate": 1.0}, 1)
    assert arrived.acquire(timeout=60)
    for step in (2, 3, 4):  # while the first is not answered, one may wait and the others are left out
        send({"rate": 1.0}, step)
    answers.release()
    assert arrived.acquire(timeout=60)
    answers.release()
    send.close()
    assert [step for _, step in sent] == [1, 2]


def test_figures_are_sent_now_and_then():
    sent, arrived = [], threading.Event()

    def log(metrics, step):
        sent.append(step)
        arrived.set()

    send = BackgroundMetrics(log)
    for step in range(5):
        send({}, step)
    assert arrived.wait(60)
    send.close()
    assert sent == [0]
