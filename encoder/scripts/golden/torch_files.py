"""Writes the files of internal/torchpt/testdata. Usage: torch_files.py OUT   (torch 2.11)

state.pt   what torch.save makes of a state dict with views, shared storages and several element types
legacy.pt  the same in the format before torch 1.6
hidden.pt  a pickle that names a function beside its tensors: must be refused
values.json the float32 values of every tensor
"""
import collections
import json
import sys

import torch

out = sys.argv[1]
torch.manual_seed(7)
base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
state = collections.OrderedDict(
    whole=base,
    transposed=base.t(),
    column=base[:, 2],
    rows=base[1:3],
    half=torch.randn(3, 5).half(),
    bfloat=torch.randn(3, 5).bfloat16(),
    double=torch.randn(2, 2).double(),
    ids=torch.tensor([[1, -2], [1 << 40, 4]]),
    flags=torch.tensor([True, False, True]),
    scalar=torch.tensor(2.5),
    empty=torch.zeros(0, 3),
    parameter=torch.nn.Parameter(torch.randn(2, 3)),
)
linear = torch.nn.Linear(3, 2)
state.update(linear.state_dict())
state._metadata = linear.state_dict()._metadata
torch.save(state, out + "/state.pt")
torch.save(state, out + "/legacy.pt", _use_new_zipfile_serialization=False)
torch.save({"weight": torch.zeros(2), "f": torch.nn.functional.relu}, out + "/hidden.pt")
with open(out + "/values.json", "w") as f:
    json.dump({k: {"shape": list(v.shape), "values": v.detach().double().flatten().tolist()} for k, v in state.items()}, f)
