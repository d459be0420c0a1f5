#!/usr/bin/env python3
"""Tiny encoders with random weights and the hidden states that they must give.

    python encoder/scripts/golden/architectures.py encoder/transformer/testdata [NAME ...]

The files in testdata were made with transformers 5.3.0, torch 2.11.0 and numpy on a CPU. Each model becomes a folder
NAME/{config.json,model.safetensors,cases.json,case*.npy} as in the other goldens of testdata: cases.json lists
{name, input_ids, attention_mask, output, hidden_states?, kept?}; output is float32 (B, L, H), of which rows with
attention_mask 0 may hold anything; hidden_states, of the first case, are the inputs of all layers and the output after
the last norm.

Where transformers has the architecture its model is run in float32. What it lacks (jina's rotary XLM-R, the centred
convolutions of LFM2.5, MrT5) is computed twice here, in torch from transformers' own parts and in numpy in float64
from the formulas, and the script fails unless both agree.
"""
import json
import math
import os
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers import (EuroBertConfig, EuroBertModel, Lfm2Config, Lfm2Model, LlamaConfig, LlamaModel, MambaConfig,
                          MambaModel, Qwen2Config, Qwen2Model, Qwen3Config, Qwen3Model, T5Config, T5EncoderModel,
                          UMT5Config, UMT5EncoderModel, XLMRobertaConfig, XLMRobertaModel)

OUT = sys.argv[1]
ONLY = sys.argv[2:]
VOCAB = 200
STANDARD = [("single", [9]), ("pair_padded", [12, 5]), ("three_padded", [17, 1, 8]), ("long", [40])]


def randomise(m, seed):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for n, p in m.named_parameters():
            r = torch.randn(p.shape, generator=g)
            if "A_log" in n:
                p.copy_(0.5 * r)
            elif p.dim() >= 2:
                p.copy_(r * (0.6 if "embed" in n.lower() or "relative_attention_bias" in n or "conv" in n and p.dim() == 3 else 1.3 / p.shape[-1] ** 0.5))
            elif "bias" in n:
                p.copy_(0.2 * r)
            else:
                p.copy_(1 + 0.2 * r)
    return m.eval()


def batch(lens, lo=5, hi=VOCAB, pad=0):
    rng = np.random.default_rng(sum(lens) + len(lens))
    ids = np.full((len(lens), max(lens)), pad, np.int64)
    mask = np.zeros_like(ids)
    for i, n in enumerate(lens):
        ids[i, :n] = rng.integers(lo, hi, n)
        mask[i, :n] = 1
    return ids, mask


def write(name, config, tensors, cases, forward, pad=0, hi=VOCAB):
    """forward(ids, mask) gives (output, hidden states or None, kept or None)."""
    d = os.path.join(OUT, name)
    os.makedirs(d, exist_ok=True)
    json.dump(config, open(f"{d}/config.json", "w"), indent=1, sort_keys=True)
    save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, f"{d}/model.safetensors", metadata={"format": "pt"})
    listed = []
    for k, (case, lens) in enumerate(cases):
        ids, mask = batch(lens, pad=pad, hi=hi)
        with torch.no_grad():
            out, hidden, kept = forward(torch.tensor(ids), torch.tensor(mask))
        c = dict(name=case, input_ids=ids.tolist(), attention_mask=mask.tolist(), output=f"case{k}.npy")
        np.save(f"{d}/case{k}.npy", out.float().numpy())
        if k == 0 and hidden is not None:
            np.save(f"{d}/case0_hidden.npy", torch.stack(list(hidden)).float().numpy())
            c["hidden_states"] = "case0_hidden.npy"
        if kept is not None:
            c["kept"] = kept
        listed.append(c)
    json.dump(listed, open(f"{d}/cases.json", "w"))
    size = sum(os.path.getsize(os.path.join(d, f)) for f in os.listdir(d))
    print(f"{name}: {sum(t.numel() for t in tensors.values())} weights, {size} bytes, std {float(out.std()):.3f}")


def wanted(name):
    return not ONLY or name in ONLY


def hugging_face(name, cls, config, cases=STANDARD, seed=1, run=None, prefix="", pad=0):
    if not wanted(name):
        return
    config._attn_implementation = "eager"
    m = randomise(cls(config), seed)

    def forward(ids, mask):
        o = m(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        return o.last_hidden_state, o.hidden_states, None

    tensors = {prefix + k: v for k, v in m.state_dict().items() if not (k == "encoder.embed_tokens.weight" and "shared.weight" in m.state_dict())}
    c = config.to_dict()
    c.update(architectures=[cls.__name__], model_type=config.model_type)
    write(name, c, tensors, cases, (run or (lambda m: forward))(m), pad=pad)


decoder = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
               num_key_value_heads=2, max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=2)
hugging_face("eurobert", EuroBertModel, EuroBertConfig(**decoder, rope_parameters=dict(rope_type="default", rope_theta=250000.0), mask_token_id=3))
hugging_face("llama", LlamaModel, LlamaConfig(**decoder, attention_bias=True, mlp_bias=True,
             rope_parameters=dict(rope_type="llama3", rope_theta=500.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)), prefix="model.")
hugging_face("qwen2", Qwen2Model, Qwen2Config(**decoder, use_sliding_window=True, sliding_window=6, max_window_layers=1))
hugging_face("qwen3", Qwen3Model, Qwen3Config(**decoder, head_dim=16, is_causal=False))
hugging_face("qwen3_causal", Qwen3Model, Qwen3Config(**dict(decoder, num_hidden_layers=2), head_dim=12))
hugging_face("umt5", UMT5EncoderModel, UMT5Config(vocab_size=VOCAB, d_model=32, d_kv=12, d_ff=48, num_layers=2, num_heads=3, feed_forward_proj="gated-gelu"))

lfm2 = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=60, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=128, block_multiple_of=16, layer_types=["conv", "full_attention", "conv", "full_attention"],
            rope_parameters=dict(rope_type="default", rope_theta=1000000.0))
hugging_face("lfm2", Lfm2Model, Lfm2Config(**lfm2))


def mamba_run(m):
    def forward(ids, mask):
        o = m(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        h = o.hidden_states  # outputs of the blocks and the norm's: see the inputs instead
        return o.last_hidden_state, [m.embeddings(ids), *h[:-2], h[-1]], None
    return forward


hugging_face("mamba", MambaModel, MambaConfig(vocab_size=VOCAB, hidden_size=24, state_size=5, num_hidden_layers=3, time_step_rank=3, use_cache=False),
             run=mamba_run, prefix="backbone.")


# ---- what transformers lacks: once in torch with its parts, once in numpy from the formulas

def numpy_weights(tensors):
    return {k: v.detach().double().numpy() for k, v in tensors.items()}


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def silu(x):
    return x / (1 + np.exp(-x))


def rms(x, w, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w


def layer_norm(x, w, b, eps):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * w + b


def turn(x, theta):
    """Rotary positions of (L, heads, d) by complex numbers: values i and i + d/2 are one."""
    n, _, d = x.shape
    z = x[..., :d // 2] + 1j * x[..., d // 2:]
    z = z * np.exp(1j * np.arange(n)[:, None] * theta ** (-np.arange(0, d, 2) / d))[:, None, :]
    return np.concatenate([z.real, z.imag], -1)


def attend(q, k, v, scale, bias=0.0, softmax=softmax):
    """(L, heads, d) each; keys may have fewer heads."""
    g = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, g, 1), np.repeat(v, g, 1)
    w = softmax(np.einsum("qhd,khd->hqk", q, k) * scale + bias)
    return np.einsum("hqk,khd->qhd", w, v).reshape(q.shape[0], -1)


def agree(name, out, ids, mask, reference, limit=2e-5):
    """Compares a torch result with the numpy one, sequence by sequence."""
    for i in range(len(ids)):
        n = int(mask[i].sum())
        want = reference([int(t) for t in ids[i, :n]])
        d = np.abs(out[i, :len(want)].double().numpy() - want).max()
        assert d < limit, f"{name}: the two implementations differ by {d}"


def checked(name, forward, reference):
    def f(ids, mask):
        out, hidden, kept = forward(ids, mask)
        agree(name, out, ids, mask, reference)
        return out, hidden, kept
    return f


# jina-colbert-v2: XLM-R with rotary positions under flash-attention's names.
def jina():
    name, heads, theta, eps = "jina", 2, 10000.0, 1e-5
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb
    xc = XLMRobertaConfig(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=3, num_attention_heads=heads, intermediate_size=80, max_position_embeddings=66,
                          type_vocab_size=1, pad_token_id=1, layer_norm_eps=eps, attn_implementation="eager")
    x = randomise(XLMRobertaModel(xc, add_pooling_layer=False), 7)
    x.embeddings.position_embeddings.weight.data.zero_()
    d = 32 // heads
    freq = 1.0 / theta ** (torch.arange(0, d, 2).float() / d)

    # XLM-R's own model does the rest: its attention gets turned queries and keys.
    def rotated(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **kwargs):
        angle = torch.arange(query.shape[2]).float()[:, None] * freq
        cos, sin = torch.cat([angle, angle], -1).cos()[None], torch.cat([angle, angle], -1).sin()[None]
        query, key = apply_rotary_pos_emb(query, key, cos, sin)
        w = query @ key.transpose(2, 3) * d ** -0.5
        if attention_mask is not None:
            w = w + attention_mask
        return (w.softmax(-1) @ value).transpose(1, 2).contiguous(), w

    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    ALL_ATTENTION_FUNCTIONS.register("rotated", rotated)
    ALL_MASK_ATTENTION_FUNCTIONS.register("rotated", ALL_MASK_ATTENTION_FUNCTIONS["eager"])
    x.config._attn_implementation = "rotated"

    sd = x.state_dict()
    t = {"roberta.embeddings.word_embeddings.weight": sd["embeddings.word_embeddings.weight"],
         "roberta.embeddings.token_type_embeddings.weight": sd["embeddings.token_type_embeddings.weight"]}
    for p in "weight", "bias":
        t[f"roberta.emb_ln.{p}"] = sd[f"embeddings.LayerNorm.{p}"]
        for i in range(3):
            o, n = f"encoder.layer.{i}.", f"roberta.encoder.layers.{i}."
            t[f"{n}mixer.Wqkv.{p}"] = torch.cat([sd[f"{o}attention.self.{k}.{p}"] for k in ("query", "key", "value")])
            for a, b in (("mixer.out_proj", "attention.output.dense"), ("norm1", "attention.output.LayerNorm"), ("mlp.fc1", "intermediate.dense"),
                         ("mlp.fc2", "output.dense"), ("norm2", "output.LayerNorm")):
                t[f"{n}{a}.{p}"] = sd[f"{o}{b}.{p}"]
    w = numpy_weights(t)

    def reference(ids):
        e = "roberta.embeddings."
        h = layer_norm(w[e + "word_embeddings.weight"][ids] + w[e + "token_type_embeddings.weight"][0], w["roberta.emb_ln.weight"], w["roberta.emb_ln.bias"], eps)
        for i in range(3):
            n = f"roberta.encoder.layers.{i}."
            lin = lambda k, v: v @ w[n + k + ".weight"].T + w[n + k + ".bias"]
            q, k, v = np.moveaxis(lin("mixer.Wqkv", h).reshape(len(ids), 3, heads, d), 1, 0)
            a = lin("mixer.out_proj", attend(turn(q, theta), turn(k, theta), v, d ** -0.5))
            h = layer_norm(h + a, w[n + "norm1.weight"], w[n + "norm1.bias"], eps)
            f = lin("mlp.fc2", gelu(lin("mlp.fc1", h)))
            h = layer_norm(h + f, w[n + "norm2.weight"], w[n + "norm2.bias"], eps)
        return h

    def forward(ids, mask):
        o = x(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        return o.last_hidden_state, o.hidden_states, None

    config = dict(architectures=["HF_ColBERT"], model_type="xlm-roberta", vocab_size=VOCAB, hidden_size=32, num_hidden_layers=3, num_attention_heads=heads,
                  intermediate_size=80, hidden_act="gelu", layer_norm_eps=eps, max_position_embeddings=128, type_vocab_size=1, pad_token_id=1,
                  position_embedding_type="rotary", rotary_emb_base=theta, use_flash_attn=True, matryoshka_dimensions=[8, 16, 32])
    write(name, config, t, STANDARD, checked(name, forward, reference), pad=1)


# LFM2.5's retrievers: centred convolutions, attention both ways.
def lfm2_bidirectional():
    name = "lfm2_bidirectional"
    cfg = Lfm2Config(**lfm2, is_causal=False, attn_implementation="eager")
    m = randomise(Lfm2Model(cfg), 9)
    from transformers.models.lfm2 import modeling_lfm2

    def centred(self, hidden_states, past_key_values=None, cache_position=None, attention_mask=None, **kwargs):
        b, c, x = self.in_proj(hidden_states).transpose(-1, -2).chunk(3, dim=-2)
        y = torch.nn.functional.conv1d(b * x, self.conv.weight, self.conv.bias, padding=self.L_cache // 2, groups=b.shape[1])
        return self.out_proj((c * y).transpose(-1, -2).contiguous())

    own = modeling_lfm2.Lfm2ShortConv.forward
    modeling_lfm2.Lfm2ShortConv.forward = centred
    w = numpy_weights(m.state_dict())
    d = 8

    def reference(ids):
        h = w["embed_tokens.weight"][ids]
        for i, kind in enumerate(lfm2["layer_types"]):
            n = f"layers.{i}."
            x = rms(h, w[n + "operator_norm.weight"], 1e-5)
            if kind == "conv":
                b, c, v = np.split(x @ w[n + "conv.in_proj.weight"].T, 3, -1)
                u = np.pad(b * v, ((1, 1), (0, 0)))
                taps = w[n + "conv.conv.weight"][:, 0]
                y = sum(u[t:t + len(ids)] * taps[:, t] for t in range(3))
                h = h + (c * y) @ w[n + "conv.out_proj.weight"].T
            else:
                s = n + "self_attn."
                q, k, v = ((x @ w[f"{s}{p}_proj.weight"].T).reshape(len(ids), -1, d) for p in "qkv")
                q, k = rms(q, w[s + "q_layernorm.weight"], 1e-5), rms(k, w[s + "k_layernorm.weight"], 1e-5)
                h = h + attend(turn(q, 1e6), turn(k, 1e6), v, d ** -0.5) @ w[s + "out_proj.weight"].T
            x = rms(h, w[n + "ffn_norm.weight"], 1e-5)
            f = n + "feed_forward."
            h = h + (silu(x @ w[f + "w1.weight"].T) * (x @ w[f + "w3.weight"].T)) @ w[f + "w2.weight"].T
        return rms(h, w["embedding_norm.weight"], 1e-5)

    def forward(ids, mask):
        # One text at a time: centred convolutions see padding.
        outs, hidden = torch.zeros(*ids.shape, 32), None
        for i in range(len(ids)):
            n = int(mask[i].sum())
            o = m(input_ids=ids[i:i + 1, :n], output_hidden_states=True)
            outs[i, :n], hidden = o.last_hidden_state[0], o.hidden_states
        return outs, hidden, None

    c = Lfm2Config(**lfm2).to_dict()
    c.update(architectures=["Lfm2BidirectionalModel"], auto_map={"AutoModel": "modeling_lfm2_bidirectional.Lfm2BidirectionalModel"})
    write(name, c, m.state_dict(), STANDARD, checked(name, forward, reference))
    modeling_lfm2.Lfm2ShortConv.forward = own


# MrT5: hard deletion before a layer, softmax1, biases of the original distances.
def mrt5(name, softmax1, threshold):
    cfg = T5Config(vocab_size=VOCAB, d_model=32, d_kv=8, d_ff=48, num_layers=4, num_heads=4, feed_forward_proj="gated-gelu", attn_implementation="eager")
    m = randomise(T5EncoderModel(cfg), 11)
    g = torch.Generator().manual_seed(12)
    layer, k = 2, -30.0
    norm, w1, b1 = 1 + 0.2 * torch.randn(32, generator=g), torch.randn(1, 32, generator=g) / 32 ** 0.5 * 2, torch.tensor([0.3])
    t = {kk: v for kk, v in m.state_dict().items() if kk != "encoder.embed_tokens.weight"}
    gate = f"encoder.block.{layer}.delete_gate."
    t.update({gate + "layer_norm.weight": norm, gate + "feed_forward.weight": w1, gate + "feed_forward.bias": b1})

    def weigh(x):
        if not softmax1:
            return x.softmax(-1)
        top = x.max(-1, keepdim=True).values.clamp(min=0)
        e = (x - top).exp()
        return e / ((-top).exp() + e.sum(-1, keepdim=True))

    def one(ids):
        """T5's own parts, a sequence at a time; gives the output, the inputs of the layers and the kept positions."""
        h = m.shared(ids)[None]
        n = len(ids)
        bias = m.encoder.block[0].layer[0].SelfAttention.compute_bias(n, n)
        seen, kept = [], list(range(n))
        for i, block in enumerate(m.encoder.block):
            if i == layer:
                x = h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6) * norm
                value = k * torch.sigmoid(-(x @ w1.T + b1))[0, :, 0]
                value[ids == 0] = k
                kept = [j for j in range(n) if value[j] > threshold] or [int(value.argmax())]
                h, bias = h[:, kept], bias[:, :, kept][:, :, :, kept]
            seen.append(h[0])
            a = block.layer[0].SelfAttention
            x = block.layer[0].layer_norm(h)
            q, kk, v = (p(x).view(1, -1, 4, 8).transpose(1, 2) for p in (a.q, a.k, a.v))
            y = weigh(q @ kk.transpose(2, 3) + bias) @ v
            h = block.layer[1](h + a.o(y.transpose(1, 2).reshape(1, -1, 32)))
        h = m.encoder.final_layer_norm(h)
        return h[0], seen, kept

    wn = numpy_weights(t)

    def softmax1_numpy(x):
        e = np.exp(x)
        return e / (1 + e.sum(-1, keepdims=True))

    def bucket(r):
        at, r = (16 if r > 0 else 0), abs(r)
        return at + (r if r < 8 else min(15, 8 + int(np.float32(np.log(np.float32(r) / 8)) / math.log(16) * 8)))

    def reference(ids):
        h, pos = wn["shared.weight"][ids], np.arange(len(ids))
        table = wn["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
        for i in range(4):
            p = f"encoder.block.{i}.layer."
            if i == layer:
                z = rms(h, wn[gate + "layer_norm.weight"], 1e-6) @ wn[gate + "feed_forward.weight"][0] + wn[gate + "feed_forward.bias"][0]
                value = np.where(np.array(ids) == 0, k, k / (1 + np.exp(z)))
                stay = value > threshold
                if not stay.any():
                    stay[value.argmax()] = True
                h, pos = h[stay], pos[stay]
            x = rms(h, wn[p + "0.layer_norm.weight"], 1e-6)
            q, kk, v = ((x @ wn[f"{p}0.SelfAttention.{c}.weight"].T).reshape(-1, 4, 8) for c in "qkv")
            bias = np.array([[table[bucket(b - a)] for b in pos] for a in pos]).transpose(2, 0, 1)
            h = h + attend(q, kk, v, 1.0, bias, softmax1_numpy if softmax1 else softmax) @ wn[p + "0.SelfAttention.o.weight"].T
            x = rms(h, wn[p + "1.layer_norm.weight"], 1e-6)
            f = p + "1.DenseReluDense."
            h = h + (gelu_tanh(x @ wn[f + "wi_0.weight"].T) * (x @ wn[f + "wi_1.weight"].T)) @ wn[f + "wo.weight"].T
        return rms(h, wn["encoder.final_layer_norm.weight"], 1e-6)

    def forward(ids, mask):
        outs, kept, hidden = torch.zeros(*ids.shape, 32), [], None
        for i in range(len(ids)):
            out, seen, stay = one(ids[i, :int(mask[i].sum())])
            outs[i, :len(stay)] = out
            kept.append(stay)
        return outs, None, kept

    config = cfg.to_dict()
    config.update(architectures=["MrT5ForConditionalGeneration"], model_type="mrt5", sigmoid_mask_scale=k, gate_layer_norm=True, deletion_threshold=threshold,
                  delete_gate_layer=layer, use_softmax1=softmax1, deletion_type="scaled_sigmoid", use_gumbel_noise=True)
    cases = STANDARD + [("two_long", [60, 33])]
    write(name, config, t, cases, checked(name, forward, reference))


if wanted("jina"):
    jina()
if wanted("lfm2_bidirectional"):
    lfm2_bidirectional()
if wanted("mrt5"):
    mrt5("mrt5", True, -15.0)


def buckets():
    """T5's buckets of distances: where they begin between -4000 and 4000."""
    from transformers.models.t5.modeling_t5 import T5Attention
    distance, cases = torch.arange(-4000, 4001), []
    for n, most in (32, 128), (64, 256), (32, 200):
        b = T5Attention._relative_position_bucket(distance, True, n, most).tolist()
        at = [i for i in range(len(b)) if i == 0 or b[i] != b[i - 1]]
        cases.append(dict(num_buckets=n, max_distance=most, starts=[int(distance[i]) for i in at], values=[b[i] for i in at]))
    json.dump(cases, open(os.path.join(OUT, "buckets.json"), "w"))


if wanted("buckets"):
    buckets()
print(json.dumps(dict(transformers=transformers.__version__, torch=torch.__version__, numpy=np.__version__)))
