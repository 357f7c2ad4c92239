"""The tasks with toy tokenizers, against what a reader of their text finds: python3 -m unittest test_model_tasks."""
import functools
import hashlib
import itertools
import random
import re
import unittest

try:
    from model_tasks import PASSAGE, PROMPT, TAIL, TASKS, make
    from stem_capture import CaptureError
except ImportError as missing:
    raise unittest.SkipTest(f"{missing.name} is not installed")

N = 2048
GOLDEN = {"needle": "04d34dbf6e43", "multi_needle": "a5491eb2cfd2", "variables": "d7e0c531bcec", "copy": "a35882f4954a"}


class Toy:
    """Text to tokens by a regular expression, numbered as they come, after the tokens `special`."""

    def __init__(self, pattern, *special):
        self.pattern, self.special, self.ids = re.compile(pattern), list(special), {}

    def __call__(self, text):
        words = self.pattern.findall(text)
        assert "".join(words) == text
        return [self.ids.setdefault(word, len(self.ids)) for word in self.special + words]

    def text(self, ids):
        names = list(self.ids)
        return "".join(names[i] for i in ids)


TOYS = {"digits": Toy(r" ?[a-z]+|[0-9]| ?[A-Z][a-z]*|\s|[^\sA-Za-z0-9]"),  # the space before a number is a token
        "numbers": Toy(r" ?\w+|\s|[^\w\s]", "<s>"),                        # and here is part of it
        "letters": Toy(r".")}


@functools.cache
def haystack(n_words=3000):
    """Sentences of made-up words; line ends, and more than one space."""
    rng, text = random.Random(1), ""
    for i in range(n_words):
        text += "".join(rng.choice("bdfgklmnprst") + rng.choice("aeiou") for _ in range(2))
        text += ".\n   " if i % 11 == 10 else " "
    return text


@functools.cache
def prompt(kind, task, seed, control=False):
    """Tokens, positions of the answer, and as text: what is before the tail, the tail up to the answer, the answer."""
    toy = TOYS[kind]
    ids, answer = make(task, toy, haystack(), N, seed, control)
    at = N - N // TAIL
    return ids, answer, toy.text(ids[:at]), toy.text(ids[at:answer.start]), toy.text(ids[answer.start:]).strip()


def occurrences(ids, part):
    return [i for i in range(len(ids)) if ids[i:i + len(part)] == part]


class Tasks(unittest.TestCase):
    def each(self, check, tasks=TASKS, control=False):
        for kind, task, seed in itertools.product(TOYS, tasks, range(4)):
            with self.subTest(tokens=kind, task=task, seed=seed):
                check(kind, task, seed, *prompt(kind, task, seed, control))

    def test_length(self):
        def check(kind, task, seed, ids, answer, before, question, answer_text):
            special = TOYS[kind](text="")
            self.assertEqual(len(ids), N)
            self.assertEqual(ids[:len(special)], special)
            self.assertFalse(set(special) & set(ids[len(special):]))
            self.assertEqual(answer.stop, N)
            self.assertTrue(answer_text)
        self.each(check)
        self.each(check, control=True)

    def test_needles(self):
        def check(kind, task, seed, ids, answer, before, question, answer_text):
            told = re.findall(r"(?:^|\.|>) The special magic number for (\w+) is (\d{7})\.", before)
            self.assertEqual(len(told), 1 if task == "needle" else 4)
            asked = re.search(r" What is .* number for (\w+) mentioned in the provided text is\s?$", question)[1]
            self.assertEqual(answer_text, dict(told)[asked])
        self.each(check, ("needle", "multi_needle"))

    def test_variables(self):
        def check(kind, task, seed, ids, answer, before, question, answer_text):
            values = re.findall(r" VAR (\w+) = (\d{5})\.", before)
            copies = re.findall(r" VAR (\w+) = ([a-z]+)\.", before)
            self.assertEqual((len(values), len(copies)), (2, 2))
            self.assertEqual({first for _, first in copies}, {name for name, _ in values})
            shown, asked = re.search(r" VAR ([\w =]+)\. VAR (\w+) =\s?$", question).groups()
            traces = {copy: f"{first} = {dict(values)[first]}" for copy, first in copies}
            self.assertEqual(answer_text, traces.pop(asked))
            self.assertEqual([shown], [f"{copy} = {trace}" for copy, trace in traces.items()])
        self.each(check, ("variables",))

    def test_copy(self):
        def check(kind, task, seed, ids, answer, *_):
            self.assertEqual(len(answer), PASSAGE - PROMPT)
            first, *more = occurrences(ids, ids[N - PASSAGE:])
            self.assertEqual(more, [N - PASSAGE])
            self.assertLessEqual(first + PASSAGE, N - N // TAIL)
            self.assertIn(TOYS[kind].text(ids[:first])[-1:], (".", ">", ""))
        self.each(check, ("copy",))

    def test_answer_begins_after_the_space(self):
        for kind, task, first in (
                ("digits", "needle", r"\d"), ("numbers", "needle", r" \d+"), ("letters", "needle", r"\d"),
                ("digits", "variables", " [a-z]+"), ("letters", "variables", "[a-z]")):
            ids, answer, *_ = prompt(kind, task, 0)
            self.assertRegex(TOYS[kind].text(ids[answer.start:answer.start + 1]), f"^{first}$")

    def test_control_lacks_what_answers(self):
        def check(kind, task, seed, ids, answer, before, question, answer_text):
            if task == "copy":
                self.assertEqual(occurrences(ids, ids[N - PASSAGE:]), [N - PASSAGE])
                return
            self.assertNotIn(answer_text.split()[-1], before)
            left = re.findall(r" The special magic number| VAR ", before)
            self.assertEqual(len(left), {"needle": 0, "multi_needle": 3, "variables": 2}[task])
            full = prompt(kind, task, seed)
            self.assertEqual((answer, answer_text), (full[1], full[4]))
            self.assertEqual(question.split()[-5:], full[3].split()[-5:])
        self.each(check, control=True)

    def test_depths_are_spread(self):
        depths = sorted(prompt("letters", "needle", seed)[2].index("The special magic") / N for seed in range(40))
        self.assertLess(depths[0], 0.1)
        self.assertGreater(depths[-1], 0.7)
        self.assertLess(max(b - a for a, b in zip(depths, depths[1:])), 0.25)

    def test_every_place_is_asked_for(self):
        places = set()
        for seed in range(40):
            *_, before, _, answer = prompt("digits", "multi_needle", seed)
            places.add(re.findall(r"is (\d{7})\.", before).index(answer))
        self.assertEqual(places, {0, 1, 2, 3})

    def test_the_same_for_the_same_seed(self):
        def digest(task, seed):
            made = make(task, lambda text: list(text.encode()), haystack(), N, seed)
            return hashlib.sha256(repr(made).encode()).hexdigest()[:12]
        # Committed results are about these prompts.
        self.assertEqual({task: digest(task, 7) for task in TASKS}, GOLDEN)
        for task in TASKS:
            self.assertEqual(len({digest(task, seed) for seed in range(6)}), 6, task)

    def test_refused(self):
        toy = TOYS["digits"]
        for arguments, expected in (
                (("nedle", toy, haystack(), N, 0), "no task nedle; expected one of needle"),
                (("needle", toy, haystack(300), N, 0), "the haystack has 327 tokens; expected 2048 and, after"),
                (("copy", toy, "word " * 6000, N, 0), "the haystack has 6000 tokens; expected 2048 and, after a full"),
                (("needle", toy, "", N, 0), "the haystack has 0 tokens"),
                (("copy", toy, haystack(), TAIL * PASSAGE - 1, 0), "319 tokens; expected 320 or more"),
                (("variables", TOYS["letters"], haystack(), 200, 0), "200 tokens; expected")):
            with self.subTest(expected), self.assertRaises(CaptureError) as caught:
                make(*arguments)
            self.assertIn(expected, str(caught.exception))
            self.assertEqual(caught.exception.code, 2)
        self.assertEqual(len(make("copy", toy, haystack(), TAIL * PASSAGE, 0)[0]), TAIL * PASSAGE)


if __name__ == "__main__":
    unittest.main()
