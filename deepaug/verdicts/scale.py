"""Whether an untuned baseline has learnt enough, and whether its training is short."""

from dataclasses import dataclass

from deepaug.studies import rulebook
from deepaug.studies.arms import DOUBLED
from deepaug.verdicts import effects


@dataclass(frozen=True)
class Scale:
    """Where a baseline stands before it is tuned, in points of validation, and what rules ask."""

    above: float  # random initialisation
    doubling: float  # its gain from twice the epochs
    needed: float
    aim: float
    data_sets: int
    seeds: int  # the fewest of any data set

    @classmethod
    def of(cls, recorded: effects.Recorded) -> "Scale | None":
        """From the records of a scale stage; over data sets the mean.

        None while a data set lacks the untrained or the doubled runs.
        """
        if not recorded:
            return None
        rules = rulebook.rules()["scale"]
        table = effects.frame(recorded)
        by_arm = effects.gains(table, effects.primary(recorded)).groupby(["arm", "base"])["gain"]
        place = {"index": ["untrained", DOUBLED], "columns": table["base"].unique()}
        found, seeds = (of.unstack().reindex(**place) for of in (by_arm.mean(), by_arm.size()))
        if found.isna().any(axis=None):
            return None
        return cls(
            above=-float(found.loc["untrained"].mean()),
            doubling=float(found.loc[DOUBLED].mean()),
            needed=rules["above_random_initialisation"],
            aim=rules["gain_from_doubled_epochs"]["aim_below"],
            data_sets=found.shape[1],
            seeds=int(seeds.min(axis=None)),
        )

    @property
    def met(self) -> bool:
        return self.above >= self.needed

    @property
    def short(self) -> bool:
        """Whether training at this scale is short: twice the epochs gain no less than the aim."""
        return self.doubling >= self.aim

    def __str__(self) -> str:
        over = f", as the mean of {self.data_sets} data sets" if self.data_sets > 1 else ""
        met = "met" if self.met else "**not met**"
        reached = "**not met**" if self.short else "met"
        return (
            f"Before tuning, on validation data, the baseline stands {self.above:.1f} points above "
            f"random initialisation{over} (needed: {self.needed:g}; {met}). "
            f"Doubling its epochs adds {self.doubling:.1f} (aim: below {self.aim:g}; {reached})"
            + (": gains here are those of short training." if self.short else ".")
        )
