#!/usr/bin/env python3
"""Run a Hugging Face causal language model over a text; write post-RoPE Q, K and V as a stem-capture file.

Registers an attention function with transformers and writes what the chosen layers hand to it, in
one forward. Needs torch and transformers (4.56 or later) besides numpy and h5py. Prints
the mean next-token loss and writes nothing when it is above --max-loss. Models whose head scales or
caps its logits (Granite, Cohere, Gemma) show a loss that is off by that scaling: use --force.

example:
  capture_hf.py Qwen/Qwen3-0.6B --text book.txt --layers 2,14 --tokens 16384 --out capture.h5 \\
      --source "My Book, CC BY 4.0"
"""
import argparse
import os

import torch
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM, AutoTokenizer

from stem_capture import (CaptureError, CaptureWriter, Parser, add_arguments, check_loss,
                          choose_layers, read_text, run_main)

NAME = "stem_capture"
COMPUTE = {"auto": "auto", "f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


class Recorder:
    """The attention function: causal softmax attention that hands chosen layers to on_layer first."""

    def __init__(self, on_layer):
        self.on_layer = on_layer
        self.seen = set()

    def __call__(self, module, query, key, value, attention_mask, scaling=None, dropout=0.0,
                 sliding_window=None, **kwargs):
        layer = module.layer_idx
        n = query.shape[2]
        # Without a registered mask function transformers passes no mask, unless the model builds its own.
        if attention_mask is not None or key.shape[2] != n:
            raise CaptureError(f"layer {layer}: its attention is not plain causal self-attention")
        if sliding_window is not None and sliding_window < n:
            raise CaptureError(f"layer {layer}: its sliding window of {sliding_window} tokens is shorter "
                               f"than --tokens {n}")
        for extra in ("softcap", "s_aux", "position_bias"):
            if kwargs.get(extra) is not None:
                raise CaptureError(f"layer {layer}: attention with {extra} is not supported")
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        if layer not in self.seen:
            self.seen.add(layer)
            self.on_layer(layer, query, key, value, scale)
        group = query.shape[1] // key.shape[1]
        out = torch.nn.functional.scaled_dot_product_attention(
            query, key.repeat_interleave(group, 1), value.repeat_interleave(group, 1),
            is_causal=True, scale=scale)
        return out.transpose(1, 2).contiguous(), None


def set_rope_theta(config, theta):
    rope = getattr(config, "rope_parameters", None)
    if isinstance(rope, dict) and "rope_theta" in rope:
        rope["rope_theta"] = theta
    elif hasattr(config, "rope_theta"):
        config.rope_theta = theta
    else:
        raise CaptureError("--rope-theta: this model has no single RoPE base", 2)


def describe_rope(config):
    rope = getattr(config, "rope_parameters", None) or {
        "rope_theta": getattr(config, "rope_theta", None), **(getattr(config, "rope_scaling", None) or {})}
    return f"layout=transformers {config.model_type}; " + " ".join(f"{k}={rope[k]}" for k in sorted(rope))


def next_token_losses(head, hidden, ids, rows=256):
    losses = []
    for r in range(0, len(ids) - 1, rows):
        target = ids[r + 1:r + 1 + rows]
        logits = head(hidden[r:r + len(target)]).float()
        loss = torch.nn.functional.cross_entropy(logits, target.to(logits.device), reduction="none")
        losses.append(loss.cpu())
    return torch.cat(losses).numpy()


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model folder or Hugging Face name")
    parser.add_argument("--gguf-file", metavar="NAME", help="GGUF file in that folder to load instead")
    add_arguments(parser)
    parser.add_argument("--compute", choices=COMPUTE, default="auto",
                        help="arithmetic of the forward (default auto: the checkpoint's)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu",
                        help="torch device (default %(default)s)")
    args = parser.parse_args()
    text = read_text(args.text, args.offset)
    source = {"gguf_file": args.gguf_file} if args.gguf_file else {}
    try:
        config = AutoConfig.from_pretrained(args.model, **source)
        tokenizer = AutoTokenizer.from_pretrained(args.model, **source)
    except (ValueError, KeyError) as error:
        raise CaptureError(f"{args.model}: {' '.join(str(error).split())}")
    text_config = config.get_text_config()
    layers = choose_layers(args.layers, text_config.num_hidden_layers)
    ids = tokenizer(text, return_tensors="pt", verbose=False).input_ids[0, :args.tokens]
    if len(ids) < max(args.tokens, 2):
        raise CaptureError(f"{args.text}: {len(ids)} tokens after the offset; at least "
                           f"{max(args.tokens, 2)} are needed", 2)
    if args.rope_theta:
        set_rope_theta(text_config, args.rope_theta)
    scales = set()
    writer = None

    def on_layer(layer, q, k, v, scale):
        if layer in layers:
            scales.add(float(scale))
            if len(scales) > 1:
                raise CaptureError(f"layers have different softmax scales: {sorted(scales)}")
            writer.layer(layer, *(x[0].float().cpu().numpy() for x in (q, k, v)))

    recorder = Recorder(on_layer)
    AttentionInterface.register(NAME, recorder)
    model = AutoModelForCausalLM.from_pretrained(
        args.model, config=config, dtype=COMPUTE[args.compute], attn_implementation=NAME, **source)
    model = model.to(args.device).eval()
    name = args.model_name or args.gguf_file or os.path.basename(args.model.rstrip("/"))
    with CaptureWriter(args.out, name, args.source, args.tokens, None, describe_rope(text_config),
                       args.dtype) as writer, torch.inference_mode():
        hidden = model.base_model(input_ids=ids[None].to(args.device), use_cache=False).last_hidden_state[0]
        missing = sorted(set(layers) - recorder.seen)
        if missing:
            raise CaptureError(f"layers {missing} call no softmax attention")
        check_loss(next_token_losses(model.get_output_embeddings(), hidden, ids), args)
        writer.softmax_scale = scales.pop()
        writer.token_ids(ids.numpy())
        writer.commit()
    print(f"wrote {args.out}: layers {','.join(map(str, layers))}, {args.tokens} tokens, {args.dtype}")
    return 0


if __name__ == "__main__":
    run_main(main)
