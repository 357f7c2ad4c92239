"""Llama-family models from GGUF files, in numpy: tokenizer, weights, forward with any attention.

Needs numpy, gguf and tokenizers. Architectures: llama (also Mistral, SmolLM2), qwen2, qwen3.
"""
import gguf
import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from stem_capture import CaptureError

ROWS = 1024  # tokens per block of the position-wise parts: bounds memory whatever the length


# ---- tokenizer ----

def split_then_bytes(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def words(digits):
    return (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits +
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
SINGLE_DIGITS = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2])
# Keyed by tokenizer.ggml.pre.
PRE_TOKENIZERS = {
    "gpt-2": GPT2,
    "smollm": SINGLE_DIGITS,
    "starcoder": SINGLE_DIGITS,
    "qwen2": split_then_bytes(words(r"\p{N}")),
    "deepseek-r1-qwen": split_then_bytes(words(r"\p{N}")),
    "llama-bpe": split_then_bytes(words(r"\p{N}{1,3}")),
}


def make_tokenizer(model):
    kind = model.get("tokenizer.ggml.model")
    if kind != "gpt2":
        raise CaptureError(f"tokenizer {kind!r} is not supported: gpt2 (byte-level BPE) only")
    pre = model.get("tokenizer.ggml.pre", "gpt-2")
    if pre not in PRE_TOKENIZERS:
        raise CaptureError(f"pre-tokenizer {pre!r} is not supported: {', '.join(PRE_TOKENIZERS)} only")
    vocabulary = {token: i for i, token in enumerate(model.get("tokenizer.ggml.tokens"))}
    merges = [tuple(merge.split(" ", 1)) for merge in model.get("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=pre == "llama-bpe"))
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[pre]
    if "qwen" in pre:
        tokenizer.normalizer = normalizers.NFC()
    add_bos = model.get("tokenizer.ggml.add_bos_token", pre == "llama-bpe")
    return tokenizer, [model.get("tokenizer.ggml.bos_token_id")] if add_bos else []


def encode(model, text):
    """Tokenise plain text (special tokens in it are not recognised); a BOS where the model wants one."""
    if model.tokenizer is None:
        model.tokenizer = make_tokenizer(model)
    tokenizer, first = model.tokenizer
    return first + tokenizer.encode(text).ids


# ---- model ----

class Model:
    """A GGUF file: its hyperparameters, and its weights dequantised on demand, one at a time.

    keep: hold the weights that were read, for models that run more than once.
    """

    def __init__(self, path, compute=np.float64, keep=False):
        try:
            self.reader = gguf.GGUFReader(path)
        except FileNotFoundError:
            raise CaptureError(f"{path}: no such file", 5)
        except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
            raise CaptureError(f"{path}: not a readable GGUF file ({' '.join(str(error).split())})")
        self.compute = compute
        self.tokenizer = None
        self.kept = {} if keep else None
        self.tensors = {tensor.name: tensor for tensor in self.reader.tensors}
        self.arch = self.get("general.architecture")
        if self.arch not in ("llama", "qwen2", "qwen3"):
            raise CaptureError(f"{path}: architecture {self.arch!r} is not supported: "
                               "llama, qwen2, qwen3 only")
        self.n_layers = self.integer("block_count")
        self.n_embd = self.integer("embedding_length")
        self.heads = self.integer("attention.head_count")
        self.kv_heads = self.integer("attention.head_count_kv", self.heads)
        self.d = self.integer("attention.key_length", self.n_embd // self.heads)
        self.dv = self.integer("attention.value_length", self.d)
        self.context = self.integer("context_length")
        self.rms_eps = float(self.get(f"{self.arch}.attention.layer_norm_rms_epsilon"))
        self.softmax_scale = self.d ** -0.5
        self.theta = float(self.get(f"{self.arch}.rope.freq_base", 10000.0))
        if self.integer("rope.dimension_count", self.d) != self.d:
            raise CaptureError(f"{path}: partial RoPE is not supported")
        scaling = self.get(f"{self.arch}.rope.scaling.type", "none")
        if scaling != "none":
            raise CaptureError(f"{path}: RoPE scaling {scaling!r} is not supported")
        if self.integer("expert_count", 0):
            raise CaptureError(f"{path}: mixtures of experts are not supported")

    def get(self, key, default=None):
        field = self.reader.get_field(key)
        return default if field is None else field.contents()

    def integer(self, key, default=None):
        value = self.get(f"{self.arch}.{key}", default)
        if not isinstance(value, int):
            raise CaptureError(f"{self.arch}.{key} is {value!r}; an integer was expected")
        return value

    def weight(self, name, optional=False):
        """Return the tensor (a matrix as [out, in]) as the compute type; None if absent and optional."""
        tensor = self.tensors.get(name)
        if tensor is None:
            if optional:
                return None
            raise CaptureError(f"tensor {name} is missing")
        if self.kept is not None and name in self.kept:
            return self.kept[name]
        weight = gguf.dequantize(tensor.data, tensor.tensor_type).astype(self.compute)
        if self.kept is not None:
            self.kept[name] = weight
        return weight

    def project(self, x, name, heads, unpermute=False):
        """Return x W^T + bias as [heads, N, dim].

        GGUF stores Q and K of the llama architecture with each head's rows permuted, so that RoPE
        rotates neighbours (2i, 2i+1). Undoing that gives the original order (i, i + d/2).
        """
        def rows(w):
            if w is None or not unpermute:
                return w
            return w.reshape(heads, -1, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)
        y = x @ rows(self.weight(name + ".weight")).T
        bias = rows(self.weight(name + ".bias", optional=True))
        if bias is not None:
            y += bias
        return np.ascontiguousarray(y.reshape(len(x), heads, -1).swapaxes(0, 1))


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def rotate(x, cos, sin):
    """Apply RoPE in place to x [heads, N, d]: pairs (i, i + d/2) turn by the angle of position and i."""
    half = x.shape[-1] // 2
    a, b = x[..., :half].copy(), x[..., half:].copy()
    x[..., :half] = a * cos - b * sin
    x[..., half:] = b * cos + a * sin


def dense_attention(layer, q, k, v, scale, rows=256, cols=512):
    """Causal attention, blocked with a running softmax: memory does not grow with N^2.

    q [H, N, d], k [H_kv, N, d], v [H_kv, N, dv] -> [H, N, dv]. Any function with this signature
    can stand in for it in forward().
    """
    heads, n, d = q.shape
    group = heads // k.shape[0]
    out = np.empty((heads, n, v.shape[2]), q.dtype)
    for g in range(k.shape[0]):
        mine = slice(g * group, (g + 1) * group)
        for r0 in range(0, n, rows):
            r1 = min(r0 + rows, n)
            q_rows = (q[mine, r0:r1] * scale).reshape(-1, d)
            top = np.full((len(q_rows), 1), -np.inf, q.dtype)
            total = np.zeros_like(top)
            acc = np.zeros((len(q_rows), v.shape[2]), q.dtype)
            for c0 in range(0, r1, cols):
                c1 = min(c0 + cols, r1)
                s = q_rows @ k[g, c0:c1].T
                if c1 - 1 > r0:
                    future = np.arange(c0, c1) > np.arange(r0, r1)[:, None]
                    s.reshape(group, r1 - r0, c1 - c0)[:, future] = -np.inf
                new_top = np.maximum(top, s.max(axis=1, keepdims=True))
                s -= new_top
                np.exp(s, out=s)
                fade = np.exp(top - new_top)
                total = total * fade + s.sum(axis=1, keepdims=True)
                acc = acc * fade + s @ v[g, c0:c1]
                top = new_top
            out[mine, r0:r1] = (acc / total).reshape(group, r1 - r0, -1)
    return out


def forward(model, ids, attention=dense_attention, on_layer=None, rope_theta=None, on_residual=None):
    """Run the model over ids; return the final normed hidden states [N, n_embd].

    on_layer(layer, q, k, v) sees what attention(layer, q, k, v, scale) gets: Q and K after bias,
    QK-norm and RoPE, V as projected. on_residual(layer, h) sees the residual stream [N, n_embd]
    after each layer, which it must not keep.
    """
    n, eps = len(ids), model.rms_eps
    frequency = (rope_theta or model.theta) ** (-np.arange(0, model.d, 2) / model.d)
    factors = model.weight("rope_freqs.weight", optional=True)
    if factors is not None:
        frequency = frequency / factors
    angle = np.arange(n)[:, None] * frequency
    cos, sin = np.cos(angle).astype(model.compute), np.sin(angle).astype(model.compute)
    h = model.weight("token_embd.weight")[ids]
    for layer in range(model.n_layers):
        def weight(name, optional=False):
            return model.weight(f"blk.{layer}.{name}.weight", optional)

        def project(x, name, heads, unpermute=False):
            return model.project(x, f"blk.{layer}.{name}", heads, unpermute)

        x = rms_norm(h, weight("attn_norm"), eps)
        q = project(x, "attn_q", model.heads, model.arch == "llama")
        k = project(x, "attn_k", model.kv_heads, model.arch == "llama")
        v = project(x, "attn_v", model.kv_heads)
        q_norm, k_norm = weight("attn_q_norm", True), weight("attn_k_norm", True)
        if q_norm is not None:
            q, k = rms_norm(q, q_norm, eps), rms_norm(k, k_norm, eps)
        rotate(q, cos, sin)
        rotate(k, cos, sin)
        if on_layer:
            on_layer(layer, q, k, v)
        out = attention(layer, q, k, v, model.softmax_scale)
        h += out.swapaxes(0, 1).reshape(n, -1) @ weight("attn_output").T
        ffn_norm, gate, up, down = map(weight, ("ffn_norm", "ffn_gate", "ffn_up", "ffn_down"))
        for r in range(0, n, ROWS):
            x = rms_norm(h[r:r + ROWS], ffn_norm, eps)
            g = x @ gate.T
            h[r:r + ROWS] += (g / (1 + np.exp(-g)) * (x @ up.T)) @ down.T
        if on_residual:
            on_residual(layer, h)
    return rms_norm(h, model.weight("output_norm.weight"), eps)


def output_head(model):
    """Return the matrix [vocabulary, n_embd] that makes logits of hidden states."""
    tied = "output.weight" not in model.tensors
    return model.weight("token_embd.weight" if tied else "output.weight")


def next_token_losses(model, hidden, ids):
    """Return -log p(ids[i + 1] | ids[:i + 1]) for i in [0, N - 1), in nats."""
    head = output_head(model)
    losses = []
    for r in range(0, len(ids) - 1, 256):
        target = np.asarray(ids[r + 1:r + 257])
        logits = hidden[r:r + len(target)] @ head.T
        picked = logits[np.arange(len(target)), target]
        top = logits.max(axis=1)
        logits -= top[:, None]
        losses.append(np.log(np.exp(logits, out=logits).sum(axis=1)) + top - picked)
    return np.concatenate(losses)
