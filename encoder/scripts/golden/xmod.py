#!/usr/bin/env python3
"""Tiny random RoBERTa and XMOD encoders with transformers' own outputs, beyond those of golden/gen/make_models.py:
   xmod.py backbones OUTDIR    (encoder/transformer/testdata)
- roberta: an unusual padding token, which also stands in the midst of sequences; two token types
- xmod_flags: every combination of XMOD's flags over one set of weights. flags.json: [{config, output}]
- xmod_languages: all 81 languages of facebook/xmod-base. outputs.npy holds f32 (81, L, H) for one sequence
   xmod.py stanford OUTDIR     (encoder/testdata/layouts)
- stanford_xmod: a ColBERT-XM in small, in the Stanford layout, with the token vectors that colbert-ai's tokenization and
  transformers' XmodModel give in each language
Made with transformers 5.3.0 and torch 2.11."""
import itertools, json, os, string, sys
import numpy as np, torch
from safetensors.torch import save_file
from transformers import RobertaConfig, RobertaModel, XmodConfig, XmodModel

mode, out = sys.argv[1], sys.argv[2]
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


def backbones():
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


WORDS = {
    "en_XX": "the a of and red green blue sun moon sea star sky planet which is name known where water".split(),
    "de_DE": "der die das und rot grün blau sonne mond meer stern himmel welcher ist name wo wasser".split(),
    "es_XX": "el la los y rojo verde azul sol luna mar estrella cielo planeta cuál es nombre dónde agua".split(),
    "tr_TR": "ve kırmızı yeşil mavi güneş ay deniz yıldız gökyüzü gezegen hangi nerede su".split(),
    "vi_VN": "và đỏ xanh lá trời mặt trăng biển ngôi sao hành tinh nào ở đâu nước".split(),
    "zh_CN": list("红色的太阳月亮海星天空行星是哪个水"),
    "zh_TW": list("紅綠藍陽個嗎"),
    "no_XX": "og rød grønn blå sol måne hav stjerne himmel hvilken er hvor vann".split(),
}
TEXTS = {
    "en_XX": ("Which planet is red?", "The red planet is known; the sea (blue) and the moon!"),
    "de_DE": ("Welcher Planet ist rot?", "Der rote Planet - und das blaue Meer, wo Wasser ist."),
    "es_XX": ("¿Cuál es el planeta rojo?", "El planeta rojo y la luna: «estrella» del cielo."),
    "tr_TR": ("Kırmızı gezegen hangi?", "Güneş, ay ve yıldız; mavi deniz."),
    "vi_VN": ("Hành tinh nào đỏ?", "Mặt trăng và ngôi sao ở trên biển xanh."),
    "zh_CN": ("红色的行星是哪个?", "红色的太阳,月亮是天空的星。"),
    "zh_TW": ("紅色的行星是哪個?", "紅色的太陽,天空的星!"),
    "no_XX": ("Hvilken planet er rød?", "Rød sol og blå himmel er der vann."),
}


def stanford():
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    marks = ["<s>", "<pad>", "</s>", "<unk>"]
    words = list(dict.fromkeys(w for ws in WORDS.values() for w in ws))
    letters = list(dict.fromkeys(string.ascii_lowercase + string.ascii_uppercase + "äöüßéáíóúñçğışĞİŞâêôơưđåøæ" + "".join(w for w in words)))
    pieces = [(m, 0.0) for m in marks] + [(",", -3.0), (".", -3.1), ("▁", -3.2), ("s", -3.3)]
    pieces += [("▁" + w, -4.0 - i / 100) for i, w in enumerate(words)]
    # As in XLM-R's vocabulary some marks begin words, some do not, and some are no pieces at all.
    pieces += [("▁" + c, -7.0) for c in "!?(-\"'"] + [(c, -7.5) for c in "!?;:()-'"]
    have = {p for p, _ in pieces}
    pieces += [(c, -9.0 - i / 100) for i, c in enumerate(letters + list(string.digits)) if c not in have]
    pieces.append(("<mask>", 0.0))
    t = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    t.normalizer = normalizers.NFKC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
                                        pad_token="<pad>", unk_token="<unk>", mask_token="<mask>")
    languages = list(WORDS)
    config = XmodConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
                        max_position_embeddings=130, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2,
                        layer_norm_eps=1e-5, languages=languages, default_language="en_XX", pre_norm=False,
                        adapter_reduction_factor=2, adapter_layer_norm=False, adapter_reuse_layer_norm=True, ln_before_adapter=True,
                        architectures=["HF_ColBERT"])
    model = rnd(XmodModel(config, add_pooling_layer=False))
    weight = torch.randn((16, 32), generator=G)
    d = folder("stanford_xmod")
    config.save_pretrained(d)
    raw = json.load(open(f"{d}/config.json"))
    raw["architectures"] = ["HF_ColBERT"]
    json.dump(raw, open(f"{d}/config.json", "w"), indent=1)
    tokenizer.save_pretrained(d)
    save_file({"linear.weight": weight, **{"roberta." + k: v.contiguous() for k, v in model.state_dict().items()}}, f"{d}/model.safetensors", {"format": "pt"})
    qlen, dlen = 16, 100
    json.dump({"query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_maxlen": qlen, "doc_maxlen": dlen, "dim": 16,
               "similarity": "cosine", "mask_punctuation": True, "attend_to_mask_tokens": True}, open(f"{d}/artifact.metadata", "w"))

    # colbert-ai 0.2: QueryTokenizer.tensorize, DocTokenizer.tensorize, ColBERT.query and .doc; both markers are unknown.
    marker = tokenizer.convert_tokens_to_ids("[unused0]")
    assert marker == tokenizer.convert_tokens_to_ids("[unused1]") == 3
    skip = {tokenizer.encode(c, add_special_tokens=False)[0] for c in string.punctuation} | {1}

    def run(ids, lang, keep):
        ids = torch.tensor([ids[:1] + [marker] + ids[1:]])
        ids[ids == 1] = tokenizer.mask_token_id
        with torch.no_grad():
            h = model(input_ids=ids, attention_mask=torch.ones_like(ids), lang_ids=torch.tensor([languages.index(lang)])).last_hidden_state
            v = torch.nn.functional.normalize(torch.nn.functional.linear(h, weight), p=2, dim=2)[0]
        return [[round(float(x), 6) for x in row] for row, i in zip(v, ids[0].tolist()) if keep(i)]

    golden = dict(queries=[], documents=[])
    for lang, (q, doc) in TEXTS.items():
        for l in {lang, "en_XX", "de_DE"}:
            ids = tokenizer(q, padding="max_length", truncation=True, max_length=qlen - 1)["input_ids"]
            golden["queries"].append(dict(text=q, language=l, vectors=run(ids, l, lambda i: True)))
            ids = tokenizer(doc, truncation=True, max_length=dlen - 1)["input_ids"]
            golden["documents"].append(dict(text=doc, language=l, vectors=run(ids, l, lambda i: i not in skip)))
    for part in golden.values():
        part.sort(key=lambda g: (g["language"], g["text"]))
    json.dump(golden, open(f"{d}/golden.json", "w"), ensure_ascii=False)


{"backbones": backbones, "stanford": stanford}[mode]()
