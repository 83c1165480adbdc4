#!/usr/bin/env python3
"""Write small stories from a hand-made grammar: storygen.py --mb 2 --seed 7 > stories.txt

A story is told about a state (hero, friend, place, treasure, food, weather), drawn once at its start, so
names, pronouns, colours and places agree from the first sentence to the last. All text is original.

Choices are not uniform: the k-th entry of a list has weight k ** -0.8. A uniform choice between twenty names
has no right answer for a model that decodes greedily; a skewed one has, by a margin far above rounding noise.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

END_OF_STORY = "<|endoftext|>"
SKEW = 0.8

GIRLS = "Lily Mia Anna Rosie Clara Nell Ella Tess Ivy June Maud Ada Greta Sally Wendy Flora".split()
BOYS = "Tom Ben Max Sam Jack Finn Leo Hugh Toby Otto Ned Arthur Felix Walter Robin Jonas".split()
ANIMAL_NAMES = (
    "Pip Hazel Bramble Coco Clover Nutmeg Sunny Thistle Patch Pebble Ginger Moss Biscuit Fern".split()
)
# An animal and the way it moves.
ANIMALS = [
    ("rabbit", "hopped"),
    ("fox", "ran"),
    ("mouse", "scurried"),
    ("bear", "walked"),
    ("squirrel", "climbed"),
    ("hedgehog", "walked"),
    ("kitten", "ran"),
    ("frog", "hopped"),
    ("duckling", "waddled"),
    ("owl", "flew"),
    ("puppy", "ran"),
    ("badger", "walked"),
    ("lamb", "skipped"),
    ("otter", "swam"),
    ("robin", "flew"),
]
SIZES = "little small tiny young".split()
TRAITS = "kind curious brave shy cheerful clever gentle playful patient proud merry thoughtful".split()
COLOURS = "red blue yellow green golden white silver purple orange brown".split()
ELDERS = [("mother", True), ("grandmother", True), ("father", False), ("grandfather", False), ("aunt", True)]


@dataclass(frozen=True)
class Place:
    name: str  # with its article: "the forest"
    preposition: str
    sight: str  # something to be seen there
    hiding: str  # a spot there, with its preposition

    @property
    def at(self) -> str:
        return f"{self.preposition} {self.name}"


PLACES = [
    Place("the forest", "in", "the tall green trees", "under a pile of leaves"),
    Place("the garden", "in", "the bright flowers", "behind the rose bush"),
    Place("the meadow", "in", "the butterflies", "in the long grass"),
    Place("the village", "in", "the old clock tower", "behind the well"),
    Place("the river", "by", "the shining water", "between two stones"),
    Place("the hill", "on", "the wide blue sky", "under a thorn bush"),
    Place("the farm", "on", "the golden fields", "behind the hay cart"),
    Place("the beach", "on", "the white waves", "under a heap of seaweed"),
    Place("the orchard", "in", "the ripe apples", "at the foot of an apple tree"),
    Place("the lake", "by", "the silver fish", "among the reeds"),
    Place("the old mill", "near", "the turning wheel", "behind a broken barrel"),
    Place("the market", "at", "the colourful stalls", "under a table"),
]


@dataclass(frozen=True)
class Treasure:
    name: str
    quality: str
    use: str  # what one does with it, past tense


TREASURES = [
    Treasure("ball", "round", "threw it high into the air"),
    Treasure("kite", "light", "let it dance in the wind"),
    Treasure("bell", "shiny", "rang it all the way home"),
    Treasure("boat", "wooden", "let it float on the water"),
    Treasure("hat", "soft", "wore it every day"),
    Treasure("drum", "loud", "played it from morning to night"),
    Treasure("lamp", "bright", "lit it every evening"),
    Treasure("scarf", "warm", "wore it when the wind was cold"),
    Treasure("book", "thick", "read it under the old oak tree"),
    Treasure("whistle", "loud", "blew it as hard as possible"),
    Treasure("button", "smooth", "kept it in a safe pocket"),
    Treasure("basket", "strong", "carried it everywhere"),
    Treasure("flute", "long", "played a sweet song on it"),
    Treasure("cup", "pretty", "drank from it every morning"),
]
FOODS = [
    "bread",
    "berries",
    "honey cakes",
    "apples",
    "soup",
    "nuts",
    "pancakes",
    "cherries",
    "cheese",
    "plums",
    "carrots",
    "ginger cookies",
]
WEATHERS = [
    ("sunny", "The sun was warm and the birds were singing."),
    ("windy", "The wind chased the clouds across the sky."),
    ("rainy", "The rain tapped on every roof and leaf."),
    ("cold", "There was frost on the grass and the pond was still."),
    ("misty", "A soft grey mist lay over the land."),
    ("snowy", "White snow covered the ground like a blanket."),
    ("quiet", "Not a leaf moved and not a sound was heard."),
]
DAYS = [
    "One day",
    "One morning",
    "One afternoon",
    "One fine day",
    "Early one morning",
    "One summer day",
    "One autumn day",
    "One evening",
]
SPEECH = "said cried called whispered".split()


def article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def plural(food: str) -> bool:
    return food.endswith("s")


@dataclass(frozen=True)
class Being:
    """Somebody with a name, a nature and pronouns."""

    name: str
    kind: str
    female: bool
    size: str
    trait: str
    moved: str

    @property
    def he(self) -> str:
        return "she" if self.female else "he"

    @property
    def him(self) -> str:
        return "her" if self.female else "him"

    @property
    def his(self) -> str:
        return "her" if self.female else "his"

    @property
    def himself(self) -> str:
        return f"{self.him}self"

    @property
    def He(self) -> str:  # the capital is the meaning
        return self.he.capitalize()

    @property
    def His(self) -> str:
        return self.his.capitalize()


@dataclass(frozen=True)
class Elder:
    role: str
    female: bool

    @property
    def his(self) -> str:
        return "her" if self.female else "his"


@dataclass(frozen=True)
class World:
    """All that a story must keep straight."""

    hero: Being
    friend: Being
    elder: Elder
    place: Place
    far: Place
    treasure: Treasure
    colour: str
    food: str
    weather: tuple[str, str]

    @property
    def prize(self) -> str:
        return f"{self.colour} {self.treasure.name}"

    @property
    def they_food(self) -> str:
        return "they" if plural(self.food) else "it"

    @property
    def them_food(self) -> str:
        return "them" if plural(self.food) else "it"


class Teller:
    """Draws a world and tells one story about it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.dated = False  # the opening has named the day, so the plot must not begin another one
        self.pronouns_differ = True

    def pick(self, options: Sequence[T]) -> T:
        weights = [(rank + 1) ** -SKEW for rank in range(len(options))]
        return self.rng.choices(options, weights)[0]

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    # -- the state -------------------------------------------------------------------------------------------

    def being(self, other: Being | None = None) -> Being:
        while True:
            female = self.chance(0.58)
            if self.chance(0.62):
                kind, moved = ("girl" if female else "boy"), "ran"
                name = self.pick(GIRLS if female else BOYS)
            else:
                kind, moved = self.pick(ANIMALS)
                name = self.pick(ANIMAL_NAMES)
            if other is None or (name != other.name and kind != other.kind):
                return Being(name, kind, female, self.pick(SIZES), self.pick(TRAITS), moved)

    def world(self) -> World:
        hero = self.being()
        friend = self.being(hero)
        self.pronouns_differ = hero.female != friend.female
        place = self.pick(PLACES)
        return World(
            hero=hero,
            friend=friend,
            elder=Elder(*self.pick(ELDERS)),
            place=place,
            far=self.pick([p for p in PLACES if p is not place]),
            treasure=self.pick(TREASURES),
            colour=self.pick(COLOURS),
            food=self.pick(FOODS),
            weather=self.pick(WEATHERS),
        )

    # -- pieces shared by the plots --------------------------------------------------------------------------

    def say(self, who: Being, words: str) -> str:
        """Direct speech; a bare pronoun names the speaker only where it can mean nobody else."""
        verb = "asked" if words.endswith("?") else self.pick(SPEECH)
        inner = words[:-1] + "," if words.endswith(".") else words
        by_name = [f'"{inner}" {verb} {who.name}.', f'{who.name} {verb}, "{words}"']
        return self.pick([*by_name, f'"{inner}" {who.he} {verb}.'] if self.pronouns_differ else by_name)

    def described(self, who: Being) -> str:
        return self.pick(
            [
                f"{article(who.size)} {who.kind} named {who.name}",
                f"{article(who.trait)} {who.size} {who.kind} named {who.name}",
                f"{article(who.size)} {who.kind} called {who.name}",
            ]
        )

    def opening(self, w: World) -> list[str]:
        hero = w.hero
        first = (
            self.pick(
                [
                    f"Once upon a time, there was {self.described(hero)}.",
                    f"Once upon a time, there was {self.described(hero)} who lived near {w.place.name}.",
                    f"Once upon a time, there lived {self.described(hero)}.",
                    f"There once was {self.described(hero)}.",
                    f"Long ago, {self.described(hero)} lived {w.place.at}.",
                    f"{hero.name} was {article(hero.size)} {hero.kind} who lived {w.place.at}.",
                ]
            )
            if self.chance(0.6)
            else f"Once upon a time, there was {self.described(hero)}."
        )
        second = self.pick(
            [
                f"{hero.He} loved to play {w.place.at}.",
                f"{hero.name} was very {hero.trait}.",
                f"{hero.He} lived in a small house with {hero.his} {w.elder.role}.",
                f"Every day {hero.he} {hero.moved} to {w.place.name} to look at {w.place.sight}.",
                f"{hero.He} liked {w.food} more than anything else.",
                f"Everyone knew that {hero.he} was {article(hero.trait)} {hero.kind}.",
            ]
        )
        self.dated = False
        if self.chance(0.5):
            weather = f"{self.day()} it was very {w.weather[0]}. {w.weather[1]}"
            self.dated = True
            return [first, second, weather]
        return [first, second]

    def day(self) -> str:
        return "That day" if self.dated else self.pick(DAYS)

    def ending(self, w: World, own: Sequence[str]) -> str:
        hero, friend = w.hero, w.friend
        return self.pick(
            [
                *own,
                f"From that day on, {hero.name} and {friend.name} were the best of friends.",
                f"That night {hero.name} fell asleep with a smile.",
                "And they all lived happily ever after.",
                f"And {hero.name} never forgot that day.",
            ]
        )

    def meets(self, w: World) -> str:
        friend = w.friend
        return self.pick(
            [
                f"Then {self.described(friend)} came along.",
                f"Just then {w.hero.he} met {self.described(friend)}.",
                f"Soon {self.described(friend)} came down the path.",
            ]
        )

    # -- the plots -------------------------------------------------------------------------------------------

    def lost(self, w: World) -> list[str]:
        hero, friend, thing = w.hero, w.friend, w.treasure.name
        return [
            self.pick(
                [
                    f"{hero.His} {w.elder.role} had given {hero.him} {article(w.prize)}.",
                    f"The best thing {hero.he} had was {article(w.prize)}.",
                ]
            ),
            f"{self.day()} {hero.he} took the {thing} to {w.far.name}.",
            self.pick(
                [
                    f"But on the way home the {thing} was gone.",
                    f"{hero.He} played for hours, and then {hero.he} could not find the {thing}.",
                ]
            ),
            self.say(hero, self.pick([f"Where is my {w.prize}?", f"Oh no, I have lost my {thing}!"])),
            f"{hero.He} looked up and down, but the {thing} was not there.",
            self.pick([f"{hero.name} sat down and cried.", f"{hero.name} felt very sad."]),
            self.meets(w),
            self.say(friend, "Why are you so sad?"),
            self.say(hero, f"I have lost my {w.prize}."),
            self.say(
                friend,
                self.pick(["Do not cry. I will help you look for it.", "Let us look for it together."]),
            ),
            f"So they went back to {w.far.name} and looked again.",
            f"At last {friend.name} saw something {w.colour} {w.far.hiding}.",
            f"It was the {thing}!",
            self.say(hero, self.pick(["Thank you, dear friend!", "You found it! Thank you so much!"])),
            f"{hero.name} took the {thing} and {w.treasure.use}.",
            self.ending(w, ["It is easier to find a thing when two are looking."]),
        ]

    def supper(self, w: World) -> list[str]:
        hero, friend, food = w.hero, w.friend, w.food
        taste = f"{w.they_food} did not taste good"
        joy = ["laughed", "danced", "jumped for joy"]
        return [
            f"{self.day()} {hero.his} {w.elder.role} gave {hero.him} a basket full of {food}.",
            self.pick(
                [
                    f"{hero.He} wanted to keep {w.them_food} all for {hero.himself}.",
                    f"{hero.He} sat down {w.place.at} to eat.",
                ]
            ),
            self.meets(w),
            self.say(
                friend, self.pick(["I am so hungry. May I have some?", f"May I have some of your {food}?"])
            ),
            self.say(hero, self.pick(["No, this is all mine.", "I do not have enough for two."])),
            f"{friend.name} said nothing and {friend.moved} away.",
            f"{hero.name} began to eat the {food}, but {taste}.",
            self.say(hero, self.pick(["I was not kind.", "It is no fun to eat alone."])),
            f"So {hero.he} took the basket and {hero.moved} after {friend.name}.",
            self.say(
                hero, self.pick(["Wait! Please come and eat with me.", "I am sorry. Half of it is for you."])
            ),
            f"{friend.name} was so glad that {friend.he} {self.pick(joy)}.",
            f"They sat down side by side and ate all the {food}.",
            f"The next day {friend.name} came back with {article(w.prize)} for {hero.name}.",
            self.ending(w, ["Food tastes better when it is shared.", f"{hero.name} had learned to share."]),
        ]

    def rescue(self, w: World) -> list[str]:
        hero, friend = w.hero, w.friend
        trap = self.pick(["a deep hole", "a thorn bush", "the mud", "an old net", "a hollow log"])
        tool = self.pick(["rope", "branch", "stick", "ladder"])
        trouble = self.pick(
            [
                f"{hero.name} lost {hero.his} way in the fog",
                f"{hero.name} was caught in a great storm",
                f"{hero.name} fell into the cold water",
            ]
        )
        return [
            f"{self.day()}, when {hero.he} was near {w.far.name}, {hero.he} heard a cry.",
            '"Help! Help!" called a voice.',
            f"It was {self.described(friend)}, and {friend.he} was stuck in {trap}.",
            self.say(hero, self.pick(["Do not be afraid. I will get you out.", "Hold on! I am coming."])),
            f"{hero.name} pulled and pulled, but {friend.name} did not move.",
            f"Then {hero.he} found a long {tool} and tried again.",
            f"With the {tool} it was easy, and soon {friend.name} was free.",
            self.say(friend, self.pick(["Thank you! I will never forget this.", "You saved me! Thank you."])),
            f"Some days later, {trouble}.",
            f"But {friend.name} heard {hero.him} call and {friend.moved} as fast as {friend.he} could.",
            self.say(friend, "You helped me, and now I will help you."),
            f"{friend.name} brought {hero.him} safely home to {hero.his} {w.elder.role}.",
            f"{hero.name} gave {friend.name} {article(w.prize)} to say thank you.",
            self.ending(w, ["A kind deed always comes back.", "Even a small friend can be a great help."]),
        ]

    def fear(self, w: World) -> list[str]:
        hero, friend = w.hero, w.friend
        guest = f"{article(friend.size)} {friend.kind}"
        fear = self.pick(["the dark", "the thunder", "the deep water", "the old bridge", "the big black dog"])
        return [
            f"But {hero.name} had a secret. {hero.He} was afraid of {fear}.",
            f"{self.day()} {hero.his} friend {friend.name}, {guest}, came to the door.",
            self.say(friend, f"Come with me to {w.far.name}. I want to show you something."),
            self.say(
                hero, self.pick([f"I cannot go. I am afraid of {fear}.", "What if something bad happens?"])
            ),
            self.say(friend, self.pick(["I will stay close to you.", "We will go slowly, step by step."])),
            f"{hero.name} took a deep breath and went out with {friend.name}.",
            self.pick([f"{hero.His} heart went thump, thump, thump.", f"{hero.His} legs were shaking."]),
            f"{hero.name} thought of {fear} and wanted to run away.",
            f'But {friend.name} said, "Look at me, and take one more step."',
            f"{hero.name} took one step, and then another, and another.",
            f"And there, {w.far.hiding}, was {article(w.prize)}.",
            self.say(friend, f"The {w.treasure.name} is for you, because you were so brave."),
            self.say(
                hero, self.pick(["I did it! I am not afraid any more.", "It was not so bad after all."])
            ),
            f"At home {hero.he} told {hero.his} {w.elder.role} the whole story.",
            self.ending(
                w, ["To be brave is to be afraid and to go on.", f"{hero.name} was proud of {hero.himself}."]
            ),
        ]

    def broken(self, w: World) -> list[str]:
        hero, friend, thing = w.hero, w.friend, w.treasure.name
        return [
            f"{hero.His} friend {friend.name}, {article(friend.size)} {friend.kind}, had {article(w.prize)}.",
            f"{self.day()} {friend.name} let {hero.him} play with it.",
            self.say(friend, f"Please be careful with my {thing}."),
            self.pick(
                [
                    f"But {hero.name} tripped over a root, and the {thing} broke.",
                    f"But the {thing} fell on a stone and broke.",
                ]
            ),
            f"{hero.name} did not know what to do, so {hero.he} hid the {thing} {w.place.hiding}.",
            self.say(friend, f"Where is my {thing}?"),
            self.say(hero, "I do not know."),
            f"That night {hero.name} could not sleep.",
            f'"Always tell the truth," {hero.his} {w.elder.role} used to say.',
            f"In the morning {hero.he} {hero.moved} to {friend.name} with the broken {thing}.",
            self.say(
                hero,
                self.pick([f"I broke your {thing}. I am so sorry.", "I did not tell the truth. I am sorry."]),
            ),
            f"{friend.name} was quiet for a while, and then {friend.he} smiled.",
            self.say(friend, self.pick(["I am glad that you told me.", "Thank you for telling the truth."])),
            f"Together they mended the {thing}, and it looked as good as new.",
            self.ending(
                w,
                [
                    "The truth may be hard, but a lie is harder.",
                    f"After that, {hero.name} always told the truth.",
                ],
            ),
        ]

    def seed(self, w: World) -> list[str]:
        hero, friend = w.hero, w.friend
        tree = self.pick(["an apple tree", "a sunflower", "a pear tree", "a rose bush", "a cherry tree"])
        plant = tree.split(" ", 1)[1]
        return [
            f"{self.day()} {hero.he} found a tiny seed {w.place.at}.",
            self.say(hero, "What will it be?"),
            f'"Put it in the ground and wait," said {hero.his} {w.elder.role}.',
            f"So {hero.name} dug a hole, put the seed in it, and gave it water.",
            f"The next day {hero.he} looked, but there was nothing to see.",
            f"{friend.name}, {article(friend.trait)} {friend.kind}, laughed at {hero.him}.",
            self.say(friend, self.pick(["Nothing will ever grow there.", "It is only a little stone."])),
            f"But {hero.name} did not give up. Every day {hero.he} gave it water.",
            self.pick(
                [
                    "The rain came, and the sun came, and many days went by.",
                    "The snow came and went, and then it was spring.",
                ]
            ),
            "Then one morning there was a small green leaf.",
            f"The leaf grew and grew until it was {tree}.",
            self.say(friend, self.pick(["I was wrong. It is beautiful!", "I am sorry that I laughed."])),
            f"{hero.name} and {friend.name} sat under the {plant} and ate {w.food}.",
            self.ending(w, ["Good things need time.", f"And the {plant} still stands there today."]),
        ]

    def building(self, w: World) -> list[str]:
        hero, friend = w.hero, w.friend
        what, fall = self.pick(
            [
                ("a tree house", "fell down"),
                ("a raft", "sank"),
                ("a bridge", "broke in two"),
                ("a snow castle", "fell down"),
                ("a wagon", "lost its wheels"),
            ]
        )
        it = what.split(" ", 1)[1]
        return [
            f"{self.day()} {hero.he} wanted to build {what}.",
            self.say(hero, f"I can build the {it} all by myself."),
            f"{hero.He} worked all morning, but the {it} {fall}.",
            f"{hero.He} tried a second time, and again the {it} {fall}.",
            self.meets(w),
            self.say(friend, self.pick([f"May I help you with the {it}?", "Two can do more than one."])),
            self.pick(
                [
                    f"At first {hero.name} shook {hero.his} head, but then {hero.he} said yes.",
                    f"{hero.name} thought about it and said yes.",
                ]
            ),
            f"{hero.name} brought the wood, and {friend.name} tied it with a strong rope.",
            "They worked until the sun went down.",
            f"And this time the {it} was strong and good.",
            f"On the top they put {article(w.prize)}, so that all could see it.",
            self.say(
                hero, self.pick(["I could not have done it without you.", "We are a good team, you and I."])
            ),
            f"{hero.His} {w.elder.role} came to see the {it} and gave them {w.food}.",
            self.ending(w, ["Many hands make light work.", f"They played with the {it} all summer long."]),
        ]

    def quarrel(self, w: World) -> list[str]:
        hero, friend, thing = w.hero, w.friend, w.treasure.name
        return [
            f"{hero.He} had a good friend, {self.described(friend)}.",
            f"{self.day()} they both saw {article(w.prize)} {w.place.hiding}.",
            self.say(hero, f"I saw it first! The {thing} is mine."),
            self.say(friend, self.pick(["No, it is mine!", "That is not true. I saw it first!"])),
            f"They pulled at the {thing} and shouted, and then they both went home angry.",
            f"{hero.name} sat at the window with the {thing}, but {hero.he} was not happy.",
            f'"What is {article(thing)} without a friend to play with?" asked {hero.his} {w.elder.role}.',
            f"{hero.name} thought about this for a long time.",
            f"Then {hero.he} took the {w.prize} and {hero.moved} to the house of {friend.name}.",
            self.say(
                hero,
                self.pick(
                    ["I am sorry. Let us share it.", f"You can have the {thing}. I want my friend back."]
                ),
            ),
            self.say(friend, self.pick(["I am sorry too.", "Let us never be angry again."])),
            f"So one day {hero.name} had the {thing}, and the next day {friend.name} had it.",
            self.ending(w, ["A friend is worth more than any toy.", "It takes two to make peace."]),
        ]

    def noise(self, w: World) -> list[str]:
        hero, friend = w.hero, w.friend
        sound = self.pick(
            ["tap, tap, tap", "whoo, whoo", "scratch, scratch", "drip, drip, drip", "crack, crack"]
        )
        return [
            f"One night {hero.he} woke up and heard a strange sound.",
            f'"{sound.capitalize()}," it went.',
            self.say(hero, self.pick(["Who is there?", "What can that be?"])),
            "Nobody answered.",
            f"{hero.name} took a lamp and went to the door.",
            f'"{sound.capitalize()}," it went again, and now it was closer.',
            self.pick(
                [
                    f"{hero.name} was a little afraid, but {hero.he} wanted to know.",
                    f"{hero.name} held {hero.his} breath.",
                ]
            ),
            f"{hero.He} opened the door, and there stood {self.described(friend)}.",
            self.say(
                friend,
                self.pick(["I am cold and I have no place to sleep.", f"I lost my way to {w.far.name}."]),
            ),
            self.say(hero, self.pick(["Come in! It is warm by the fire.", "You poor thing! Come in."])),
            f"{hero.name} gave {friend.him} {w.food} and a soft blanket.",
            f"They talked and laughed until {hero.his} {w.elder.role} woke up too.",
            f'"What a nice guest we have," said {hero.his} {w.elder.role}.',
            f"In the morning {friend.name} gave them {article(w.prize)} and said goodbye.",
            self.ending(
                w,
                [
                    "Not every noise in the night is a bad one.",
                    f"And {friend.name} came to visit every winter.",
                ],
            ),
        ]

    def race(self, w: World) -> list[str]:
        hero, friend = w.hero, w.friend
        contest = self.pick(["a great race", "a singing contest", "a jumping contest", "a baking contest"])
        word = contest.split()[-1]
        rest = self.pick(["lay down to sleep", f"stopped to eat {w.food}", "did not even try"])
        return [
            f"{self.day()} there was {contest} {w.far.at}.",
            f"The prize was {article(w.prize)}.",
            f"{friend.name}, a proud {friend.kind}, laughed at {hero.name}.",
            self.say(friend, self.pick(["You are much too small to win.", "Nobody is better than I am."])),
            f"{hero.name} did not answer. {hero.He} went home and practised every day.",
            f'"Do your best," said {hero.his} {w.elder.role}, "and you will be happy, win or lose."',
            f"Then the day of the {word} came, and everybody was there.",
            f"{friend.name} was so sure of the prize that {friend.he} {rest}.",
            f"But {hero.name} did {hero.his} very best until the end.",
            f"And so {hero.name} won the {word} and the {w.prize}.",
            f"{friend.name} hung {friend.his} head.",
            self.say(friend, self.pick(["I am sorry that I laughed at you.", "You were better than I was."])),
            self.say(hero, self.pick(["Let us be friends.", "Next time we can practise together."])),
            self.ending(w, ["Pride comes before a fall.", "Hard work is better than big words."]),
        ]

    def present(self, w: World) -> list[str]:
        hero, friend, thing = w.hero, w.friend, w.treasure.name
        return [
            f"It was the birthday of {friend.name}, {article(friend.trait)} {friend.kind}.",
            f"{hero.name} wanted to give {friend.him} something, but {hero.he} had no money.",
            self.say(hero, "What can I do?"),
            f'"The best presents are made by hand," said {hero.his} {w.elder.role}.',
            f"So {hero.he} went to {w.far.name} and looked for something to use.",
            f"{hero.He} found some old things {w.far.hiding} and took them home.",
            f"{hero.name} worked for three days, and on the third day there was {article(w.prize)}.",
            self.pick(
                [
                    f"It was a little crooked, but it was very {w.treasure.quality}.",
                    f"It was {w.treasure.quality}, just as {article(thing)} should be.",
                ]
            ),
            f"At the party, the others gave {friend.name} {w.food} and fine clothes.",
            f"{hero.name} was shy and held out the {thing}.",
            self.say(hero, "I made it for you."),
            self.say(
                friend,
                self.pick([f"This {thing} is the best of all my presents!", "You made it? It is wonderful!"]),
            ),
            f"{friend.name} took the {thing} and {w.treasure.use}.",
            self.ending(
                w, ["A present from the heart is the best one.", f"{hero.name} had never been so happy."]
            ),
        ]

    def wish(self, w: World) -> list[str]:
        hero, friend = w.hero, w.friend
        spirit = self.pick(["a tiny fairy", "a golden fish", "a little old man", "a talking bird"])
        name = spirit.split(" ", 1)[1]
        gift = self.pick(["a house full of gold", "a white horse", "a mountain of sweets", "a crown"])
        trouble = self.pick(["sick", "lonely", "hungry", "cold"])
        return [
            f"{self.day()} {hero.he} found {article(w.prize)} {w.place.hiding}.",
            f"When {hero.he} touched it, {spirit} came out.",
            f'"You have set me free," said the {name}. "I will give you one wish."',
            self.say(hero, "Only one? Then I must think."),
            f"{hero.He} thought of {gift}.",
            f"But on the way home {hero.he} met {self.described(friend)}, who was very {trouble}.",
            self.say(hero, self.pick(["What is wrong?", "Can I help you?"])),
            self.say(friend, f"I am so {trouble}, and nobody cares."),
            f"Then {hero.name} knew what to wish for.",
            self.say(hero, f"I wish that {friend.name} may never be {trouble} again."),
            f"There was a flash of {w.colour} light, and {friend.name} began to laugh.",
            self.say(friend, self.pick(["How good I feel! Thank you.", "You gave your only wish to me!"])),
            f"{hero.name} did not get {gift}, but {hero.he} was glad.",
            self.ending(
                w,
                [
                    "A friend is better than gold.",
                    f"{hero.name} kept the {w.treasure.name}, and sometimes it still shines.",
                ],
            ),
        ]

    def tell(self) -> str:
        world = self.world()
        plots: list[Callable[[World], list[str]]] = [
            self.lost,
            self.supper,
            self.rescue,
            self.fear,
            self.broken,
            self.seed,
            self.building,
            self.quarrel,
            self.noise,
            self.race,
            self.present,
            self.wish,
        ]
        opening = self.opening(world)
        sentences = [*opening, *self.rng.choice(plots)(world)]
        paragraphs: list[str] = []
        while sentences:
            length = self.rng.choices((3, 4, 5, 6), (1, 3, 3, 1))[0]
            if len(sentences) - length < 2:  # no closing paragraph of a single sentence
                length = len(sentences)
            paragraphs.append(" ".join(sentences[:length]))
            sentences = sentences[length:]
        return "\n\n".join(paragraphs)


def stories(seed: int) -> Iterator[str]:
    """An endless stream of stories; a seed always gives the same ones."""
    teller = Teller(random.Random(seed))
    while True:
        yield teller.tell()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mb", type=float, default=0.02, help="size of the output in megabytes")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    written = 0
    for story in stories(options.seed):
        if written >= options.mb * 1e6:
            break
        text = f"{story}\n{END_OF_STORY}\n"
        sys.stdout.write(text)
        written += len(text)


if __name__ == "__main__":
    main()
