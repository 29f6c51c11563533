"""Effects as prose and tables have them: one decimal for points, a true minus."""

from collections.abc import Sequence

from deepaug.verdicts.statistics import Effect, mean_effect

AXES = {"tau": "Kendall's τ", "share": "difference of shares"}  # by unit; all else is in points
SHORT = {"tau": "τ", "share": "difference"}  # by unit, within a sentence; all else is a gain
PLACES = {"points": 1, "tau": 2, "share": 4, "probability": 2}  # decimals, by unit

SPELLED = {"dropout-feature": "dropout of features", "pca": "PCA", "pca-truncate": "truncating PCA"}
VIEWS = {  # by way
    "both": "in both views",
    "detached-one": "in both views, one detached",
    "detached": "in both views, detached",
    "one-view": "in one view",
    "one-view-detached": "in one view, detached",
}


def arm(name: str) -> str:
    """An arm, by its name in the tables, in words.

    >>> arm("block2 pca 0.2 one-view"), arm("stage3 dropout 0.5")
    ('PCA at block2, strength 0.2, in one view', 'dropout at stage3, strength 0.5, in both views')
    """
    layer, transform, strength, *way = name.split()
    views = VIEWS[way[0] if way else "both"]
    return f"{SPELLED.get(transform, transform)} at {layer}, strength {strength}, {views}"


def after(unit: str) -> str:
    """What follows an effect of a unit: " points", or nothing where it is a number alone."""
    return " points" if unit == "points" else ""


def number(value: float, decimals: int = 1) -> str:
    """With its sign, a true minus; what rounds to zero has none.

    >>> number(-2.97), number(-0.274, 2), number(-0.04)
    ('−3.0', '−0.27', '0.0')
    """
    rounded = round(value, decimals) or 0.0  # not −0.0
    return f"{rounded:{'+' if rounded else ''}.{decimals}f}".replace("-", "−")


def interval(effect: Effect, unit: str = "", decimals: int = 1) -> str:
    """An effect with its interval.

    >>> interval(Effect(-2.97, -3.68, -2.26, 10, 0.0), " points")
    '−3.0 points [−3.7, −2.3]'
    """
    low, high = (number(value, decimals) for value in (effect.low, effect.high))
    return f"{number(effect.mean, decimals)}{unit} [{low}, {high}]"


def with_n(effect: Effect, unit: str = "", decimals: int = 1) -> str:
    """An effect with its interval and its number of seeds."""
    return f"{interval(effect, unit, decimals)}, n = {effect.n}"


def capital(sentence: str) -> str:
    """A sentence that begins with a capital letter; the rest stays, names among it."""
    return sentence[:1].upper() + sentence[1:]


def seeds(values: Sequence[float], fewest: int, unit: str = "") -> str:
    """The mean of paired differences with its interval, or with them where these are too few.

    >>> seeds([1.0, 2.04], fewest=5)
    '+1.5 (+1.0, +2.0)'
    """
    effect = mean_effect(values)
    if effect.n >= fewest:
        return interval(effect, unit)
    return f"{number(effect.mean)}{unit} ({', '.join(map(number, values))})"
