"""What is said of an actor: one plain sentence, and a small grammar of others that mean the same."""

import numpy as np

from raypipe.world.actions import Action, Actor
from raypipe.world.scene import Place

# After "is"; the first is the plain one. {thing} is what the others call the thing.
_DOING: dict[Action, tuple[str, ...]] = {
    "walking": ("walking", "walking", "walking along", "strolling"),
    "standing": ("standing", "standing", "standing still"),
    "pushing": ("pushing a stroller", "walking with a stroller", "pushing a baby carriage"),
    "running": ("running", "running", "running fast", "sprinting"),
    "falling": ("falling", "falling down", "falling to the ground"),
    "lying": ("lying on the ground", "lying down"),
    "fighting": ("fighting", "fighting", "punching somebody", "boxing"),
    "cycling": ("riding a bicycle", "riding a bike", "cycling"),
    "skating": ("riding a skateboard", "skateboarding", "standing on a skateboard"),
    "driving": ("driving", "driving along"),
    "carting": ("driving a cart", "riding in a cart", "driving a golf cart"),
}
_WHERE: dict[Place, tuple[str, ...]] = {
    "street": ("on the street", "in the street", "in front of houses"),
    "path": ("on a path", "on a dirt path", "in front of trees"),
    "square": ("on a square", "across the pavement", "in front of houses"),
    "park": ("in a park", "on a way through the grass", "in front of trees"),
}
_WEARING = ("in a {0} shirt", "wearing a {0} shirt", "in {0}", "wearing {0} clothes", "with a {0} top")


def noun_of(actor: Actor) -> str:
    """Return what the actor is: man, woman or car."""
    if actor.actions[0] == "driving":
        return "car"
    return "woman" if actor.look.is_woman else "man"


def sentence(actor: Actor, frame: int) -> str:
    """Return the plain sentence of what an actor does in a frame, as "a man is riding a bicycle"."""
    action = actor.actions[frame]
    if action == "fighting" and actor.opponent is not None:
        return _pair(actor) + " are fighting"
    return f"a {noun_of(actor)} is {_DOING[action][0]}"


def _pair(actor: Actor) -> str:
    if actor.opponent is None:
        raise ValueError("nobody to pair with")
    women = int(actor.look.is_woman) + int(actor.opponent.is_woman)
    return ("two men", "a man and a woman", "two women")[women]


def captions(actor: Actor, frame: int, place: Place, rng: np.random.Generator, count: int = 5) -> tuple[str, ...]:
    """Return the plain sentence and other true captions of a crop of the actor, none twice, at most `count`."""
    found = [sentence(actor, frame)]
    for _ in range(4 * count):
        if len(found) == count:
            break
        caption = _another(actor, frame, place, rng)
        if caption not in found:
            found.append(caption)
    return tuple(found)


def _another(actor: Actor, frame: int, place: Place, rng: np.random.Generator) -> str:
    action, noun = actor.actions[frame], noun_of(actor)
    where = f" {rng.choice(_WHERE[place])}" if rng.random() < 0.35 else ""
    if noun == "car":
        subject = str(rng.choice([f"a {actor.paint_name} car", "a car"]))
        return f"{subject} is {rng.choice(['driving', 'moving', 'driving along'])}{where}"
    doing = str(rng.choice(_DOING[action]))
    if action == "fighting" and actor.opponent is not None and rng.random() < 0.6:
        return f"{_pair(actor)} are {rng.choice(['fighting', 'boxing', 'hitting each other'])}{where}"
    if rng.random() < 0.15:
        noun = "person"
    wearing = f" {rng.choice(_WEARING).format(actor.look.top_name)}" if rng.random() < 0.55 else ""
    is_ = " is" if rng.random() < 0.75 else ""
    if action == "lying":
        where = ""
    return _with_article(f"a {noun}{wearing}{is_} {doing}{where}")


def _with_article(caption: str) -> str:
    return caption.replace("a orange", "an orange")


# The words that tell an action. Things go before verbs: who walks with a stroller pushes it.
_THINGS: dict[Action, frozenset[str]] = {
    "pushing": frozenset({"stroller", "carriage"}),
    "cycling": frozenset({"bicycle", "bike", "cycling"}),
    "skating": frozenset({"skateboard", "skateboarding"}),
    "carting": frozenset({"cart"}),
    "driving": frozenset({"car"}),
}
_VERBS: dict[Action, frozenset[str]] = {
    "walking": frozenset({"walking", "strolling"}),
    "standing": frozenset({"standing"}),
    "running": frozenset({"running", "sprinting"}),
    "falling": frozenset({"falling"}),
    "lying": frozenset({"lying"}),
    "fighting": frozenset({"fighting", "punching", "boxing", "hitting"}),
}
# Verbs that say no more than the thing does.
_WITH_THING: dict[Action, frozenset[Action]] = {"pushing": frozenset({"walking"}), "skating": frozenset({"standing"})}


def action_of(caption: str) -> Action | None:
    """Return the one action that a caption of the world's vocabulary names; None where it names none, or two."""
    words = set(caption.lower().replace(".", " ").split())
    things = [action for action, own in _THINGS.items() if words & own]
    verbs = {action for action, own in _VERBS.items() if words & own}
    if things:
        is_clear = len(things) == 1 and verbs <= _WITH_THING.get(things[0], frozenset())
        return things[0] if is_clear else None
    return verbs.pop() if len(verbs) == 1 else None
