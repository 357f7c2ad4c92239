#!/usr/bin/env python3
"""What dense attention makes of the tasks of model_tasks.py, and of these without what answers them (control).

example:
  model_task_check.py SmolLM2-135M-Instruct.Q4_1.gguf --text jargon.txt.gz:52138 --text kjv.txt:1000 --tokens 4096
"""
import argparse
import itertools

import numpy as np

from gguf_model import Model, encode, forward, next_token_losses, output_head
from model_tasks import TASKS, make
from stem_capture import CaptureError, Parser, positive, read_text, run_main


def score(model, ids, answer):
    """Mean log-probability of the answer's tokens in nats, and whether each was the first choice."""
    hidden, given = forward(model, ids)[answer.start - 1:], ids[answer.start - 1:]
    first = (hidden[:-1] @ output_head(model).T).argmax(axis=1)
    return -next_token_losses(model, hidden, given).mean(), list(first) == given[1:]


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="GGUF file")
    parser.add_argument("--text", action="append", required=True, metavar="FILE:OFFSET",
                        help="text file (or .gz) and the character to start at; again for each text")
    parser.add_argument("--task", action="append", choices=TASKS, help="only this one; again for each task")
    parser.add_argument("--tokens", type=positive(int), default=1024, metavar="N", help="default %(default)s")
    parser.add_argument("--samples", type=positive(int), default=4, metavar="N",
                        help="of each task and text (default %(default)s)")
    args = parser.parse_args()

    model, texts = Model(args.model, np.float32, keep=True), []
    for spec in args.text:
        path, _, offset = spec.rpartition(":")
        if not path or not offset.isdigit():
            raise CaptureError(f"--text {spec}; expected FILE:OFFSET", 2)
        texts.append(read_text(path, int(offset))[:12 * args.tokens])
    for task in args.task or TASKS:
        told, control = [], []
        for text, seed in itertools.product(texts, range(args.samples)):
            for scores in told, control:
                scores.append(score(model, *make(task, lambda words: encode(model, words), text, args.tokens, seed,
                                                 scores is control)))
        (mean, right), (guessed, lucky) = np.mean(told, axis=0), np.mean(control, axis=0)
        print(f"{task}: {len(told)} prompts of {args.tokens} tokens: log-probability {mean:.3f} (control {guessed:.3f})"
              f", all of the answer right {right:.2f} ({lucky:.2f})", flush=True)
    return 0


if __name__ == "__main__":
    run_main(main)
