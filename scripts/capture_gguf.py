#!/usr/bin/env python3
"""Run a Llama-family GGUF model over a text; write post-RoPE Q, K and V as a stem-capture file.

Needs numpy, gguf, h5py and tokenizers; no PyTorch. Architectures: llama (also Mistral, SmolLM2),
qwen2, qwen3. Prints the mean next-token loss over the captured tokens, which shows whether the
forward is right, and writes nothing when it is not (see --max-loss).

example:
  capture_gguf.py SmolLM2-135M-Instruct.Q4_1.gguf --text jargon.txt.gz --offset 45000 \\
      --layers 2,15 --out capture.h5 --source "Jargon File 4.4.7 (public domain)"
"""
import argparse
import os
import sys

import numpy as np

from gguf_model import Model, encode, forward, next_token_losses
from stem_capture import (CaptureError, CaptureWriter, Parser, add_arguments, check_loss,
                          choose_layers, read_text, run_main)


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="GGUF file")
    add_arguments(parser)
    parser.add_argument("--compute", choices=("f64", "f32"), default="f64",
                        help="arithmetic of the forward: f64 (default) makes the rounded values "
                             "independent of the BLAS in practice; f32 is about twice as fast")
    args = parser.parse_args()

    model = Model(args.model, np.float64 if args.compute == "f64" else np.float32)
    layers = choose_layers(args.layers, model.n_layers)
    window = model.integer("attention.sliding_window", 0)
    if 0 < window < args.tokens:
        raise CaptureError(f"the model attends within a sliding window of {window} tokens, shorter than "
                           f"--tokens {args.tokens}")
    ids = encode(model, read_text(args.text, args.offset))
    if len(ids) < max(args.tokens, 2):
        raise CaptureError(f"{args.text}: {len(ids)} tokens after the offset; at least "
                           f"{max(args.tokens, 2)} are needed", 2)
    ids = ids[:args.tokens]
    theta = args.rope_theta or model.theta
    if args.tokens > model.context and not args.rope_theta:
        sys.stderr.write(f"note: {args.tokens} tokens exceed the model's context of {model.context}; "
                         "consider --rope-theta\n")
    name = args.model_name or os.path.splitext(os.path.basename(args.model))[0]
    rope = f"layout=half-split (pairs i, i+d/2) theta={theta:g} dims={model.d}"
    with CaptureWriter(args.out, name, args.source, args.tokens, model.softmax_scale, rope,
                       args.dtype) as writer:
        def on_layer(layer, q, k, v):
            if sys.stderr.isatty():
                end = "\n" if layer + 1 == model.n_layers else ""
                sys.stderr.write(f"\rlayer {layer + 1}/{model.n_layers}{end}")
            if layer in layers:
                writer.layer(layer, q, k, v)

        hidden = forward(model, ids, on_layer=on_layer, rope_theta=theta)
        check_loss(next_token_losses(model, hidden, ids), args)
        writer.token_ids(ids)
        writer.commit()
    print(f"wrote {args.out}: layers {','.join(map(str, layers))}, {args.tokens} tokens, {args.dtype}")
    return 0


if __name__ == "__main__":
    run_main(main)
