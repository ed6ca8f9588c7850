"""The closed household world: items, people, animals, places, and every fact about them.

All choices are pure functions of names (SHA-256), so the world is the same on every machine and every Python.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

ITEMS = (
    "teddy bear:fur", "kettle:steel", "blue jug:clay", "wool scarf:wool", "silk tie:silk", "leather boot:leather",
    "picnic basket:wicker", "garden chair:wood", "soup pot:steel", "tea cup:clay", "table cloth:cotton",
    "winter coat:wool", "school bag:canvas", "bread board:wood", "water bottle:plastic", "wall clock:brass",
    "photo album:paper", "story book:paper", "rain hat:rubber", "rubber duck:rubber", "door mat:wicker",
    "flower vase:glass", "reading lamp:brass", "piano stool:leather", "oven glove:cotton", "fishing net:canvas",
    "toy train:wood", "toy rabbit:fur", "fur hat:fur", "hand mirror:glass", "jam jar:glass", "sewing box:wood",
    "bath towel:cotton", "bed sheet:cotton", "wool sock:wool", "silk dress:silk", "silk pillow:silk",
    "dog collar:leather", "hand bag:leather", "tool box:steel", "frying pan:steel", "cake tin:steel", "door bell:brass",
    "candle stick:brass", "flower pot:clay", "salad bowl:wood", "lunch box:plastic", "play tent:canvas",
    "sun hat:wicker", "garden hose:rubber", "swim ring:rubber", "letter box:steel", "card game:paper",
    "kite:canvas", "toy horse:wood", "wool blanket:wool", "wool mitten:wool", "fur rug:fur", "bucket:plastic",
    "milk can:steel", "sugar bowl:clay", "wine glass:glass", "fish tank:glass", "apron:cotton", "curtain:cotton",
    "puzzle:paper", "globe:paper", "violin:wood", "drum:leather", "flute:brass",
)
MATERIALS = (
    "fur", "steel", "clay", "wool", "silk", "leather", "wicker", "wood", "cotton", "canvas", "plastic", "brass",
    "paper", "rubber", "glass",
)
PLACES = (
    "kitchen", "attic", "cellar", "garage", "hall", "bedroom", "bathroom", "garden shed", "living room", "pantry",
    "nursery", "porch",
)
COLOURS = ("red", "blue", "green", "yellow", "white", "black", "brown", "orange", "purple", "pink", "grey", "golden")
PEOPLE = (
    "Anna", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Henry", "Ida", "Jacob", "Karla", "Leo", "Mona", "Nils",
    "Olga", "Peter", "Quinn", "Rosa", "Simon", "Tilda", "Uma", "Victor", "Wendy", "Xaver", "Yara", "Zeno", "Alma",
    "Bruno", "Celia", "Doris", "Edgar", "Flora", "Gustav", "Hanna", "Ivan", "Judith", "Kurt", "Lena", "Martin", "Nora",
    "Oscar", "Paula", "Ralf", "Stella", "Theo", "Ursula", "Vera", "Walter", "Xenia", "Yusuf", "Zora", "Arthur", "Betty",
    "Conrad", "Daisy", "Erik", "Fanny", "George", "Helga", "Igor", "Julia",
)
FOODS = (
    "plum cake", "pea soup", "fried fish", "apple pie", "rice pudding", "onion bread", "honey toast", "bean stew",
    "cheese", "pancakes", "noodles", "roast potatoes",
)
JOBS = (
    "baker", "doctor", "farmer", "teacher", "painter", "sailor", "gardener", "carpenter", "nurse", "singer", "tailor",
    "pilot",
)
PETS = ("dog", "cat", "rabbit", "goldfish", "hen", "goat", "parrot", "turtle", "pony", "hamster", "duck", "canary")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)
CAPITALS = {
    "France": "Paris", "Spain": "Madrid", "Italy": "Rome", "Germany": "Berlin", "Poland": "Warsaw", "Norway": "Oslo",
    "Sweden": "Stockholm", "Finland": "Helsinki", "Greece": "Athens", "Austria": "Vienna", "Portugal": "Lisbon",
    "Ireland": "Dublin", "Hungary": "Budapest", "Japan": "Tokyo", "China": "Beijing", "Egypt": "Cairo",
    "Kenya": "Nairobi", "Canada": "Ottawa", "Cuba": "Havana", "Peru": "Lima", "Chile": "Santiago",
    "Denmark": "Copenhagen",
    "Belgium": "Brussels", "Russia": "Moscow", "Turkey": "Ankara", "Iran": "Tehran", "Thailand": "Bangkok",
    "Vietnam": "Hanoi", "Nepal": "Kathmandu", "Ghana": "Accra",
}
ANIMALS = {  # animal: (home, food)
    "dog": ("kennel", "bones"), "cow": ("barn", "hay"), "bee": ("hive", "nectar"), "fox": ("den", "mice"),
    "bird": ("nest", "worms"), "horse": ("stable", "oats"), "pig": ("sty", "turnips"), "spider": ("web", "flies"),
    "hen": ("coop", "corn"), "rabbit": ("burrow", "carrots"), "owl": ("hollow tree", "mice"),
    "goldfish": ("bowl", "flakes"), "squirrel": ("tree", "nuts"), "frog": ("pond", "flies"), "bear": ("cave", "honey"),
    "cat": ("basket", "fish"), "mouse": ("hole", "cheese"), "goose": ("pond", "grass"), "bat": ("cave", "moths"),
    "ant": ("hill", "crumbs"), "deer": ("forest", "leaves"), "duck": ("pond", "bread"), "goat": ("barn", "hay"),
    "hedgehog": ("hedge", "snails"), "penguin": ("ice", "fish"),
}
# What each care action does to each material: (may one, how instead or how at all).
CARE_METHODS = {
    "wash": {
        "fur": ("yes", "by hand in cool water"), "wool": ("yes", "in cold water with mild soap"),
        "cotton": ("yes", "in the machine at sixty degrees"), "steel": ("yes", "with hot water and a brush"),
        "clay": ("yes", "with warm water and a sponge"), "glass": ("yes", "with warm water and vinegar"),
        "plastic": ("yes", "in the dish washer"), "rubber": ("yes", "with soap and warm water"),
        "canvas": ("yes", "with a stiff brush"), "silk": ("no", "take it to the cleaner"),
        "leather": ("no", "rub it with a damp cloth"), "wicker": ("no", "dust it with a dry brush"),
        "wood": ("no", "wipe it with a little oil"), "brass": ("no", "rub it with lemon"),
        "paper": ("no", "dust it with a soft cloth"),
    },
    "iron": {
        "cotton": ("yes", "with a hot iron"), "canvas": ("yes", "with steam from the back"),
        "silk": ("yes", "on the lowest heat"), "wool": ("yes", "under a damp towel"),
        "fur": ("no", "comb it"), "leather": ("no", "hang it up"), "rubber": ("no", "lay it flat"),
        "plastic": ("no", "lay it in warm water"), "paper": ("no", "press it under books"),
    },
    "tumble dry": {
        "cotton": ("yes", "on high heat"), "canvas": ("yes", "for ten minutes"), "fur": ("no", "let it dry in the sun"),
        "wool": ("no", "dry it flat on a towel"), "silk": ("no", "hang it in the shade"),
        "rubber": ("no", "shake it dry"), "leather": ("no", "stuff it with paper"),
    },
    "paint": {
        "wood": ("yes", "with oil paint"), "clay": ("yes", "with matt paint"), "steel": ("yes", "with spray paint"),
        "wicker": ("yes", "with thin white paint"), "paper": ("yes", "with water colours"),
        "glass": ("yes", "with glass paint"), "plastic": ("no", "put stickers on it"),
        "leather": ("no", "use shoe cream"), "brass": ("no", "use clear wax"), "canvas": ("yes", "with cloth paint"),
    },
    "freeze": {
        "steel": ("yes", "when it is dry"), "plastic": ("yes", "when it is half full"),
        "fur": ("yes", "in a bag against moths"), "wool": ("yes", "in a bag for two days"),
        "glass": ("no", "keep it in the fridge"), "clay": ("no", "keep it on the shelf"),
        "rubber": ("no", "keep it in a warm room"),
    },
    "polish": {
        "brass": ("yes", "with lemon and salt"), "steel": ("yes", "with vinegar"),
        "leather": ("yes", "with shoe cream"),
        "wood": ("yes", "with bees wax"), "glass": ("yes", "with old newspaper"), "clay": ("no", "rinse it with water"),
        "plastic": ("no", "wipe it with soap"), "wicker": ("no", "brush it"), "rubber": ("no", "rinse it with soap"),
    },
}


@dataclass(frozen=True)
class Fact:
    """One (entity, attribute, value) triple; `domain` lists the values that other entities have."""

    entity: str
    attribute: str
    value: str
    domain: tuple[str, ...]

    @property
    def root(self) -> str:
        return f"fact/{self.entity}/{self.attribute}"


@dataclass(frozen=True)
class Care:
    """Whether one may do `action` to `item` (`polarity` yes or no), and the method to use."""

    item: str
    action: str
    polarity: str
    method: str
    others: tuple[str, ...]

    @property
    def root(self) -> str:
        return f"care/{self.action}/{self.item}"


def number_of(*parts: object) -> int:
    """A reproducible number in [0, 2**64) from the parts' text."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big")


def pick(options, *parts: object):
    """One of `options`, chosen by the hash of `parts`."""
    return options[number_of("pick", *parts) % len(options)]


def materials() -> dict[str, str]:
    """Item name to material."""
    return dict(item.split(":") for item in ITEMS)


@cache
def facts() -> tuple[Fact, ...]:
    """Every fact of the world, in a fixed order."""
    return tuple(_facts())


def _facts() -> Iterator[Fact]:
    for item, material in materials().items():
        yield Fact(item, "material", material, MATERIALS)
        yield Fact(item, "place", pick(PLACES, item, "place"), PLACES)
        yield Fact(item, "colour", pick(_plain_colours(item), item, "colour"), COLOURS)
        yield Fact(item, "owner", pick(PEOPLE[:24], item, "owner"), PEOPLE[:24])
    for person in PEOPLE:
        for attribute, values in (("food", FOODS), ("job", JOBS), ("pet", PETS), ("month", MONTHS)):
            yield Fact(person, attribute, pick(values, person, attribute), values)
    for country, capital in CAPITALS.items():
        yield Fact(country, "capital", capital, tuple(CAPITALS.values()))
    homes, foods = (tuple(sorted(set(values))) for values in zip(*ANIMALS.values()))
    for animal, (home, food) in ANIMALS.items():
        yield Fact(animal, "home", home, homes)
        yield Fact(animal, "diet", food, foods)


@cache
def cares() -> tuple[Care, ...]:
    """Every piece of care advice, in a fixed order."""
    return tuple(
        Care(item, action, *advice[material], tuple(how for _, how in advice.values() if how != advice[material][1]))
        for item, material in materials().items()
        for action, advice in CARE_METHODS.items()
        if material in advice
    )


def _plain_colours(item: str) -> tuple[str, ...]:
    named = [colour for colour in COLOURS if colour in item.split()]
    return tuple(named) or COLOURS
