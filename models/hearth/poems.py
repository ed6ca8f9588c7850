"""Couplets and tiny tales about a topic, and lines that miss the topic or the craft."""

from models.hearth.world import pick

COUPLETS = (
    "The {t} was there in morning light,\nand made the little house so bright.",
    "I saw the {t} one winter day,\nand all my sorrow went away.",
    "Oh {t}, you make the evening sweet,\nyou are the finest thing to meet.",
    "I told the {t} about my dream,\nwe shared a bowl of milk and cream.",
    "The {t} is old, the {t} is small,\nI love it dearly, most of all.",
    "I find the {t} behind the door,\nit waits for me upon the floor.",
    "Dear {t}, the hour is growing late,\nI leave you by the garden gate.",
    "The {t} is dear to young and old,\nit is worth more to me than gold.",
    "I hope to see the {t} quite soon,\nunder the soft and silver moon.",
    "Let the {t} rest, its course is run,\nwe both have seen the setting sun.",
    "There is no {t} in all the land,\nas dear as this one near my hand.",
    "The {t} looked up, the wind blew cold,\nand there the oldest tale was told.",
)
TALES = (
    "Once Ida lost the {t} and cried. Then Ben found it, and they all went home happy.",
    "One day the {t} was alone. Leo came by, and soon they were good friends.",
    "Anna looked at the {t} for a long time. At last she smiled and slept well.",
    "There was once a storm, and the {t} was in danger. Clara kept it safe.",
    "The {t} wanted to see the world. It went far, and then it came home.",
    "Emma told a joke about the {t}. All the people in the house laughed.",
)
PLAIN = (
    "The {t} is a nice thing.", "I think about the {t} at times.", "There is not much to say about the {t}.",
    "The {t} is what it is.",
)
ASTRAY = (
    "The road is long and the bus is late today.", "I had soup and bread for dinner last night.",
    "My uncle counts his money on a bench.", "The shop opens at nine and closes at six.",
)


FORMS = {"poem": "couplet", "story": "tale"}
LINES = {"couplet": COUPLETS, "tale": TALES, "plain": PLAIN, "astray": ASTRAY}


def lines(form: str, topic: str, *key: object) -> str:
    """A couplet that rhymes and a tale that ends well; a plain sentence without craft; one that goes astray."""
    return pick(LINES[form], form, *key).format(t=topic)
