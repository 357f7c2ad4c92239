"""Synthetic tasks for a small model that reads long prose, after RULER (arXiv:2404.06654): the answer is far behind.

    needle        one number is told for a key somewhere in the prose; the prompt ends by asking for it
    multi_needle  four keys with a number each; one is asked for
    variables     two variables are numbers, two more are copies of these; the prompt traces one copy to its number, the
                  answer traces the other: two lookups, the second of what the first found, written out because small
                  models hardly make both at once
    copy          the first 16 tokens of a passage of 40 that occurred before are repeated; the answer is the rest

Answers are scored by teacher forcing: their log-probability, and whether each token was the first choice. The prompts
are plain text that the answer continues, so that models without a chat template, and small ones, can do them.
"""
import bisect
import random

from stem_capture import CaptureError

KEYS = ("apple basket camera desert engine forest garden hammer island jacket kitchen ladder mirror needle orange "
        "pencil rabbit silver tunnel window").split()
PASSAGE, PROMPT = 40, 16  # tokens of what is copied, and of these the ones that the question repeats
TAIL = 8  # the question and its answer fit into the last 1 / TAIL of the tokens, what answers them lies before it


# ---- the tasks: ([(statement, whether the answer follows from it)] in the order of the text, question, answer) ----

def number(rng, digits):
    return str(rng.randrange(10 ** (digits - 1), 10 ** digits))


def needles(rng, n_keys):
    told = [(key, number(rng, 7)) for key in rng.sample(KEYS, n_keys)]
    asked, answer = rng.choice(told)
    return ([(f" The special magic number for {key} is {value}.", key == asked) for key, value in told],
            f" What is the special magic number for {asked} mentioned in the provided text?"
            f" The special magic number for {asked} mentioned in the provided text is", answer)


def variables(rng):
    first, other, copy, other_copy = rng.sample(KEYS, 4)
    value, other_value = number(rng, 5), number(rng, 5)
    numbers = [(f" VAR {first} = {value}.", True), (f" VAR {other} = {other_value}.", False)]
    copies = [(f" VAR {copy} = {first}.", True), (f" VAR {other_copy} = {other}.", False)]
    return (rng.sample(numbers, 2) + rng.sample(copies, 2),
            f" VAR {other_copy} = {other} = {other_value}. VAR {copy} =", f"{first} = {value}")


PROMPTS = {"needle": lambda rng: needles(rng, 1), "multi_needle": lambda rng: needles(rng, 4), "variables": variables}
TASKS = (*PROMPTS, "copy")


# ---- tokens ----

def split_answer(tokens, question, answer):
    """Tokens of both, and where those of the answer begin: a tokenizer may draw the space between into either."""
    asked, both = tokens(question + " "), tokens(f"{question} {answer}")
    return both, next((i for i, (a, b) in enumerate(zip(asked, both)) if a != b), len(asked))


def scatter(rng, prose, stops, told, span):
    """The prose with each list of `told` put in after a full stop: one in each of len(told) equal parts of `span`."""
    ids, last = [], 0
    for i, statement in enumerate(told):
        depth = int((i + rng.random()) / len(told) * span)
        at = stops[bisect.bisect_right(stops, depth) - 1]
        ids += prose[last:at] + statement
        last = at
    return ids + prose[last:]


def make(task, encode, haystack_text, n_tokens, seed, control=False):
    """Return (token ids [n_tokens], range of the positions that hold the answer, the last ones).

    encode(text) -> ids, with the same special tokens before any text. haystack_text: prose of which a passage is left
    after n_tokens tokens; runs of spaces and line ends become one space. The same arguments give the same tokens.
    control: without the statements from which the answer follows, so that it can only be guessed.
    Raises CaptureError if the haystack is too short, or n_tokens too few for the task.
    """
    if task not in TASKS:
        raise CaptureError(f"no task {task}; expected one of {', '.join(TASKS)}", 2)
    rng, special = random.Random(f"{task} {seed}"), list(encode(""))

    def tokens(text):
        return list(encode(text))[len(special):]

    prose, stop = tokens(" ".join(haystack_text.split())), tokens(".")[-1]
    stops = [0] + [i + 1 for i, token in enumerate(prose) if token == stop]
    passages = [first for first in stops if n_tokens <= first <= len(prose) - PASSAGE]
    if not passages:
        raise CaptureError(f"{task}: the haystack has {len(prose)} tokens; expected {n_tokens} and, after a full stop, "
                           f"{PASSAGE} more", 2)
    if task == "copy":
        first = rng.choice(passages)
        question, begin = prose[first:first + PASSAGE], PROMPT
        told = [(question, True)]
    else:
        statements, question, answer = PROMPTS[task](rng)
        told = [(tokens(statement), tells) for statement, tells in statements]
        question, begin = split_answer(tokens, question, answer)
    told = [[] if control and tells else statement for statement, tells in told]
    n_told, n_tail = sum(map(len, told)), n_tokens // TAIL
    n_head = n_tokens - n_tail - n_told - len(special)
    if len(question) > n_tail or n_head < 0:
        raise CaptureError(f"{task}: {n_tokens} tokens; expected {max(TAIL * len(question), 2 * n_told)} or more", 2)
    n_prose = n_tokens - len(special) - n_told - len(question)
    ids = special + scatter(rng, prose[:n_prose], stops, told, n_head) + question
    return ids, range(n_tokens - len(question) + begin, n_tokens)
