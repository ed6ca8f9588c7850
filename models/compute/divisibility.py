"""Sizes that must divide one another, with the nearest ones that do."""


def check_divides(whole: int, whole_name: str, part: int, part_name: str, section: str = "") -> None:
    """Raises ValueError naming the nearest values of `whole` that `part` divides; `section` is put before its name."""
    if whole % part:
        nearest = [size for size in (whole // part * part, (whole // part + 1) * part) if size]
        raise ValueError(f"{whole_name}={whole} is not divisible by {part_name}={part}; set {section}{whole_name} to "
                         + " or ".join(map(str, nearest)))
