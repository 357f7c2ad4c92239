"""What model_loop.py runs models with: numpy on the CPU, transformers with torch on a GPU (or the CPU).

An engine has: name, backend, dtype, n_layers, heads, kv_heads, d, context; encode(text) -> ids; forward(ids, attention,
on_residual) -> final normed hidden states; copy, distance and compare for these; and for attention, which gets float32
arrays of the engine's kind: narrow, widen, empty_like, stream, dense_plans.
"""
import os

import numpy as np

from gguf_model import Model, encode, forward, output_head

CHUNK = 512  # positions whose logits are held at a time


def stretched(theta, n, context, d):
    """RoPE's base for n tokens: beyond the trained context it grows, so that the slowest pair turns no further."""
    return theta * (n / context) ** (d / (d - 2)) if n > context else theta


class NumpyEngine:
    backend = "cpu"

    def __init__(self, path, dtype):
        self.model = Model(path, np.float32, keep=True)
        self.name, self.dtype = os.path.splitext(os.path.basename(path))[0], dtype
        for name in ("n_layers", "heads", "kv_heads", "d", "context"):
            setattr(self, name, getattr(self.model, name))
        self.dense_plans = {}

    def encode(self, text):
        return encode(self.model, text)

    def stream(self):
        return None

    def narrow(self, x):
        """As the kernels take it. numpy has no bfloat16: its bits, rounded to nearest even."""
        if x.dtype != np.float32:
            return x
        if self.dtype != "bf16":
            return x.astype({"f32": np.float32, "f16": np.float16}[self.dtype], copy=False)
        bits = np.ascontiguousarray(x).view(np.uint32)
        return ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype(np.uint16)

    def widen(self, x):
        return (x.astype(np.uint32) << 16).view(np.float32) if x.dtype == np.uint16 else x.astype(np.float32)

    def empty_like(self, x):
        return np.empty_like(x)

    def forward(self, ids, attention=None, on_residual=None):
        theta = stretched(self.model.theta, len(ids), self.context, self.d)
        options = {"attention": attention} if attention else {}
        return forward(self.model, ids, rope_theta=theta, on_residual=on_residual, **options)

    def copy(self, x):
        return x.copy()

    def distance(self, h, dense):
        return float(np.linalg.norm(h - dense) / np.linalg.norm(dense))

    def compare(self, dense, hidden, targets, positions):
        """By position: loss of `targets` [len(positions)], KL(dense || this) in nats, logit MSE, whether both have the
        same first choice, whether it is the target. float64 [5, len(positions)]."""
        head, out = output_head(self.model), []
        for r in range(0, len(positions), CHUNK):
            rows, target = positions[r:r + CHUNK], targets[r:r + CHUNK]
            a, b = dense[rows] @ head.T, hidden[rows] @ head.T
            mse, first = np.mean((a - b) ** 2, axis=1), b.argmax(axis=1)
            same = a.argmax(axis=1) == first
            for x in (a, b):
                x -= x.max(axis=1, keepdims=True)
                x -= np.log(np.exp(x).sum(axis=1, keepdims=True))
            out.append([-b[np.arange(len(b)), target], np.einsum("ij,ij->i", np.exp(a), a - b), mse, same,
                        first == target])
        return np.concatenate([np.array(x, np.float64) for x in out], axis=1)


class TorchEngine:
    """The same GGUF file through transformers; attention is replaced where transformers lets plug-ins do so."""

    def __init__(self, path, dtype, device):
        import torch
        from transformers import AttentionInterface, AttentionMaskInterface, AutoModelForCausalLM
        from transformers.masking_utils import sdpa_mask

        AttentionInterface.register("stembench-loop", self._attend)
        AttentionMaskInterface.register("stembench-loop", sdpa_mask)
        self.torch, self.device, self.backend = torch, device, device
        self.dtype, self.kernel_dtype = dtype, {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}[dtype]
        self.model = AutoModelForCausalLM.from_pretrained(
            os.path.dirname(os.path.abspath(path)), gguf_file=os.path.basename(path), dtype=torch.float32,
            attn_implementation="sdpa").to(device).eval()
        config = self.model.config
        self.name = os.path.splitext(os.path.basename(path))[0]
        self.n_layers, self.heads, self.kv_heads = (
            config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads)
        self.d = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.tokens = Model(path)  # its tokenizer
        self.context, self.theta = self.tokens.context, self.tokens.theta
        self.attention, self.dense_plans, self.length = None, {}, None

    def encode(self, text):
        return encode(self.tokens, text)

    def stream(self):
        return self.torch.cuda.current_stream().cuda_stream if self.device == "cuda" else None

    def narrow(self, x):
        return x.to(self.kernel_dtype)

    def widen(self, x):
        return x.float()

    def empty_like(self, x):
        return self.torch.empty(x.shape, dtype=x.dtype, device=x.device)

    def copy(self, x):
        return x.clone()

    def distance(self, h, dense):
        return float((h - dense).norm() / dense.norm())

    def _attend(self, module, query, key, value, attention_mask, scaling=None, **kwargs):
        out = self.attention(module.layer_idx, query[0], key[0], value[0], scaling)
        return out.transpose(0, 1)[None].contiguous(), None

    def _stretch(self, n):
        if n == self.length:
            return
        inner, config = self.model.model, self.model.config
        config.rope_parameters["rope_theta"] = stretched(self.theta, n, self.context, self.d)
        inner.rotary_emb = type(inner.rotary_emb)(config).to(self.device)
        self.length = n

    def forward(self, ids, attention=None, on_residual=None):
        torch, inner, hooks = self.torch, self.model.model, []
        self._stretch(len(ids))
        self.attention = attention
        self.model.set_attn_implementation("stembench-loop" if attention else "sdpa")
        if on_residual:
            for i, layer in enumerate(inner.layers):
                hooks.append(layer.register_forward_hook(
                    lambda module, args, out, i=i: on_residual(i, (out[0] if isinstance(out, tuple) else out)[0])))
        with torch.inference_mode():
            hidden = inner(torch.tensor(ids, device=self.device)[None], use_cache=False).last_hidden_state[0]
        for hook in hooks:
            hook.remove()
        return hidden

    def compare(self, dense, hidden, targets, positions):
        torch, head, out = self.torch, self.model.lm_head, []
        positions, targets = (torch.as_tensor(np.asarray(x), device=self.device) for x in (positions, targets))
        with torch.inference_mode():
            for r in range(0, len(positions), CHUNK):
                rows, target = positions[r:r + CHUNK], targets[r:r + CHUNK]
                a, b = head(dense[rows]), head(hidden[rows])
                mse, first = (a - b).square().mean(1), b.argmax(1)
                same = a.argmax(1) == first
                a, b = a.log_softmax(1), b.log_softmax(1)
                loss = -b.gather(1, target[:, None])[:, 0]
                out.append(torch.stack([loss, (a.exp() * (a - b)).sum(1), mse, same.float(), (first == target).float()]))
        return torch.cat(out, 1).double().cpu().numpy()


def make(path, backend, dtype):
    """backend cpu: numpy; torch-cpu and cuda: transformers."""
    return NumpyEngine(path, dtype) if backend == "cpu" else TorchEngine(path, dtype, backend.replace("torch-", ""))
