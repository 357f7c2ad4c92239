"""attn_implementation="stembench" for transformers: prefill by any method, decoding as sdpa does it.

    import stembench.hf
    model = AutoModelForCausalLM.from_pretrained(name, attn_implementation="stembench")
    stembench.hf.configure(model, "stem", "mu=0.7 block=64", layers={0: ("dense", ""), 1: ("dense", "")})
    model.generate(...)
    stembench.hf.stats(model)[5].density    # of layer 5's last prefill

Needs torch and transformers (4.56 or later). What the kernels cannot do is an error, never a silent
detour: masks other than causal ones (padding), sliding windows, softcaps, attention sinks.
"""
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from ._plan import Plan

NAME = "stembench"


def configure(model, method="dense", params="", layers=None):
    """Attend by `method` with `params` in every layer, and in those of `layers`, {index: (method, params)},
    by theirs. Kept in the model's config, as "stembench"."""
    config = model.config.get_text_config()
    others = {str(i): list(choice) for i, choice in (layers or {}).items()}
    unknown = [i for i in others if not 0 <= int(i) < config.num_hidden_layers]
    if unknown:
        raise ValueError(f"layers {', '.join(unknown)}; the model has 0 to {config.num_hidden_layers - 1}")
    config.stembench = {"method": method, "params": params, "layers": others}


def stats(model):
    """{layer: Stats} of each layer's last prefill."""
    return {module.layer_idx: module.stembench_plan[1].stats()
            for module in model.modules() if hasattr(module, "stembench_plan")}


def _choice(module):
    chosen = getattr(module.config, "stembench", None) or {}
    own = chosen.get("layers", {}).get(str(module.layer_idx))
    return tuple(own) if own else (chosen.get("method", "dense"), chosen.get("params", ""))


def _refuse(module, query, key, attention_mask, sliding_window, extras):
    t, s = query.shape[2], key.shape[2]
    why = None
    if sliding_window is not None and sliding_window < s:
        why = f"a sliding window of {sliding_window} tokens"
    for name in ("softcap", "s_aux", "position_bias"):
        if extras.get(name) is not None:
            why = name
    if attention_mask is not None:
        causal = torch.ones(t, s, dtype=torch.bool, device=key.device).tril(s - t)
        seen = attention_mask if attention_mask.dtype == torch.bool else attention_mask == 0
        if not bool((seen[..., :s] == causal).all()):
            why = "a mask that is not plainly causal (padding?)"
    if why:
        raise NotImplementedError(f"layer {module.layer_idx}: {why}")


def attention(module, query, key, value, attention_mask, scaling=None, dropout=0.0, sliding_window=None, **kwargs):
    """The attention function: query [B, H, T, D], key and value [B, Hkv, S, D] -> [B, T, H, D]."""
    if query.shape[2] == 1:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, dropout=dropout,
                                      sliding_window=sliding_window, **kwargs)
    if query.requires_grad or dropout:
        raise NotImplementedError("training: stembench computes the forward pass alone (use torch.inference_mode)")
    _refuse(module, query, key, attention_mask, sliding_window, kwargs)
    method, params = _choice(module)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    stream = torch.cuda.current_stream(query.device).cuda_stream if query.is_cuda else None
    out = query.new_empty(query.shape[0], query.shape[2], query.shape[1], value.shape[-1])
    wanted = (method, params, scale, stream) + tuple(
        (x.shape, x.stride(), x.dtype, x.device) for x in (query, key, value))
    have = getattr(module, "stembench_plan", (None, None))
    if have[0] != wanted:
        module.stembench_plan = None  # free the old plan's memory first
        module.stembench_plan = (wanted, Plan(query, key, value, method, params, out=out.transpose(1, 2), scale=scale,
                                              layer=module.layer_idx, stream=stream))
    module.stembench_plan[1](query, key, value, out=out.transpose(1, 2))
    return out, None


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
