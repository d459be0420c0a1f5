#!/usr/bin/env python3
"""Tiny random RoBERTa and XMOD encoders with transformers' own outputs, beyond those of golden/gen/make_models.py:
   golden_xmod.py OUTDIR
- roberta: an unusual padding token, which also stands in the midst of sequences; two token types
- xmod_flags: every combination of XMOD's flags over one set of weights. flags.json: [{config, output}]
- xmod_languages: all 81 languages of facebook/xmod-base. outputs.npy holds f32 (81, L, H) for one sequence
Made with transformers 5.3.0 and torch 2.11."""
import itertools, json, os, sys
import numpy as np, torch
from safetensors.torch import save_file
from transformers import RobertaConfig, RobertaModel, XmodConfig, XmodModel

out = sys.argv[1]
G = torch.Generator().manual_seed(4321)


def rnd(m):
    with torch.no_grad():
        for n, p in m.named_parameters():
            r = torch.randn(p.shape, generator=G)
            if p.dim() >= 2:
                p.copy_(r * (0.6 if "embed" in n.lower() else 1.3 / p.shape[-1] ** 0.5))
            elif "bias" in n:
                p.copy_(0.2 * r)
            else:
                p.copy_(1 + 0.2 * r)
    return m.eval()


def folder(name):
    d = os.path.join(out, name)
    os.makedirs(d, exist_ok=True)
    return d


small = dict(vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
             max_position_embeddings=34, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2,
             layer_norm_eps=1e-5)

# RoBERTa
d = folder("roberta")
m = rnd(RobertaModel(RobertaConfig(**dict(small, type_vocab_size=2, pad_token_id=3, max_position_embeddings=36)), add_pooling_layer=False))
m.save_pretrained(d)
ids = [[0, 9, 3, 7, 12, 2, 3, 3], [0, 21, 33, 38, 4, 3, 8, 2]]
mask = [[1, 1, 1, 1, 1, 1, 0, 0], [1] * 8]
types = [[0, 0, 0, 1, 1, 1, 0, 0], [0, 1, 0, 1, 0, 1, 0, 1]]
with torch.no_grad():
    o = m(torch.tensor(ids), attention_mask=torch.tensor(mask), token_type_ids=torch.tensor(types), output_hidden_states=True)
np.save(f"{d}/case0.npy", o.last_hidden_state.numpy())
json.dump([dict(name="padding_inside", input_ids=ids, attention_mask=mask, token_type_ids=types, output="case0.npy")], open(f"{d}/cases.json", "w"))

# XMOD's flags
d = folder("xmod_flags")
langs = ["en_XX", "fr_XX"]
ids, lang_ids = [[0, 7, 11, 30, 25, 2], [0, 15, 5, 9, 22, 2]], [1, 0]
big = rnd(XmodModel(XmodConfig(**small, languages=langs, adapter_reduction_factor=4, pre_norm=True, adapter_layer_norm=True), add_pooling_layer=False))
save_file({k: v.contiguous() for k, v in big.state_dict().items()}, f"{d}/model.safetensors")
base = dict(small, model_type="xmod", hidden_act="gelu", languages=langs, adapter_reduction_factor=4)
cases = []
for pre, own, reuse, before in itertools.product([False, True], repeat=4):
    flags = dict(pre_norm=pre, adapter_layer_norm=own, adapter_reuse_layer_norm=reuse, ln_before_adapter=before)
    m = XmodModel(XmodConfig(**{k: v for k, v in base.items() if k != "model_type"}, **flags), add_pooling_layer=False)
    missing, _ = m.load_state_dict(big.state_dict(), strict=False)
    assert not missing, missing
    with torch.no_grad():
        o = m.eval()(torch.tensor(ids), lang_ids=torch.tensor(lang_ids)).last_hidden_state
    cases.append(dict(config=dict(base, **flags), output=[float(f"{x:.7g}") for x in o.flatten().tolist()]))
json.dump(dict(input_ids=ids, lang_ids=lang_ids, cases=cases), open(f"{d}/flags.json", "w"))

# All languages of facebook/xmod-base, in their order
languages = """en_XX id_ID vi_VN ru_RU fa_IR sv_SE ja_XX fr_XX de_DE ro_RO ko_KR hu_HU es_XX fi_FI uk_UA da_DK pt_XX no_XX th_TH pl_PL
bg_BG nl_XX zh_CN he_IL el_GR it_IT sk_SK hr_HR tr_TR ar_AR cs_CZ lt_LT hi_IN zh_TW ca_ES ms_MY sl_SI lv_LV ta_IN bn_IN et_EE az_AZ sq_AL sr_RS
kk_KZ ka_GE tl_XX ur_PK is_IS hy_AM ml_IN mk_MK be_BY la_VA te_IN eu_ES gl_ES mn_MN kn_IN ne_NP sw_KE si_LK mr_IN af_ZA gu_IN cy_GB eo_EO km_KH
ky_KG uz_UZ ps_AF pa_IN ga_IE ha_NG am_ET lo_LA ku_TR so_SO my_MM or_IN sa_IN""".split()
assert len(languages) == 81
d = folder("xmod_languages")
c = XmodConfig(**dict(small, hidden_size=16, num_hidden_layers=1), languages=languages, default_language="en_XX", pre_norm=False,
               adapter_reduction_factor=2, adapter_layer_norm=False, adapter_reuse_layer_norm=True, ln_before_adapter=True)
m = rnd(XmodModel(c, add_pooling_layer=False))
m.save_pretrained(d)
ids = [0, 9, 31, 17, 2]
with torch.no_grad():
    o = m(torch.tensor([ids] * 81), lang_ids=torch.arange(81)).last_hidden_state
np.save(f"{d}/outputs.npy", o.numpy())
json.dump(ids, open(f"{d}/ids.json", "w"))
