"""Bibliography whose labels name authors and year, as citations in the text do."""

from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style as Unsorted
from pybtex.style.labels import BaseLabelStyle


class AuthorYear(BaseLabelStyle):
    def format_labels(self, entries):
        seen: dict[str, int] = {}
        for entry in entries:
            persons = entry.persons.get("author", ())
            names = [" ".join(map(str, p.rich_last_names)) for p in persons[:2]]
            if len(persons) > 2:
                names = [f"{names[0]} et al."]
            label = f"{' and '.join(names) or entry.key}, {entry.fields.get('year', 'n.d.')}"
            seen[label] = seen.get(label, 0) + 1
            yield label if seen[label] == 1 else f"{label}{chr(96 + seen[label])}"


class Style(Unsorted):
    default_label_style = AuthorYear
    default_sorting_style = "author_year_title"


def setup(app):
    register_plugin("pybtex.style.formatting", "deepaug", Style)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
