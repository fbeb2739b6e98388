"""Names of dependencies that are private or overridden here still exist.

A minor release may rename them without notice. Therefore pyproject.toml caps the packages that we
subclass, and this test lists what an upgrade has removed.
"""

import ast
import inspect
import textwrap
from importlib import import_module
from importlib.metadata import version
from operator import attrgetter
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.support.project import PROJECT

CAPPED = {"uvicorn", "starlette", "torch", "torchvision"}
# Distribution, module, owner within the module ("" for the module itself), and names.
USED = [
    (
        "uvicorn",
        "uvicorn.protocols.http.httptools_impl",
        "HttpToolsProtocol",
        "connection_made connection_lost data_received on_message_begin on_headers_complete "
        "on_body on_message_complete send_400_response pause_writing resume_writing shutdown "
        "_unset_keepalive_if_required transport loop config parser cycle url headers",
    ),
    (
        "uvicorn",
        "uvicorn.protocols.http.httptools_impl",
        "RequestResponseCycle",
        "response_complete more_body keep_alive disconnected message_event",
    ),
    (
        "uvicorn",
        "uvicorn.server",
        "Server",
        "startup shutdown run started should_exit servers server_state lifespan config",
    ),
    ("uvicorn", "uvicorn.server", "ServerState", "connections"),
    ("uvicorn", "uvicorn.lifespan.on", "LifespanOn", "state"),
    (
        "uvicorn",
        "uvicorn.supervisors.multiprocess",
        "Multiprocess",
        "run init_processes keep_subprocess_alive join_all handle_signals handle_int handle_term "
        "handle_hup handle_ttin handle_ttou config sockets processes should_exit signal_queue",
    ),
    (
        "uvicorn",
        "uvicorn.supervisors.multiprocess",
        "Process",
        "target start ping is_ready wait_until_ready kill join server pid exitcode process "
        "child_conn config",
    ),
    ("torch", "torch", "ops.mkldnn", "_convolution_pointwise"),
    ("torch", "torch.fx", "Tracer", "trace call_module getattr is_leaf_module"),
    ("torch", "torch.nn.utils.fusion", "", "fuse_conv_bn_weights"),
    ("timm", "timm.layers.conv2d_same", "", "Conv2dSame"),
    ("timm", "timm.layers.norm_act", "BatchNormAct2d", "drop act"),
    ("timm", "timm.layers.padding", "", "pad_same"),
    ("open-clip-torch", "open_clip.model", "CLIP", "visual encode_image encode_text logit_scale"),
    (
        "open-clip-torch",
        "open_clip.model",
        "CustomTextCLIP",
        "visual encode_image encode_text logit_scale",
    ),
    ("open-clip-torch", "open_clip.transformer", "", "VisionTransformer"),
    (
        "open-clip-torch",
        "open_clip.tokenizer",
        "SimpleTokenizer",
        "encode cache context_length all_special_ids",
    ),
    ("prometheus-client", "prometheus_client.multiprocess", "", "mark_process_dead"),
    ("prometheus-client", "prometheus_client.multiprocess", "MultiProcessCollector", "collect"),
    ("prometheus-client", "prometheus_client.process_collector", "ProcessCollector", "collect"),
]


def names_of(owner: Any) -> set[str]:
    """Attributes of a module, class or namespace, including those that methods set on `self`."""
    names = set(dir(owner))
    if not inspect.isclass(owner):
        return names
    for base in owner.__mro__:
        if base.__module__ == "builtins":
            continue
        names |= inspect.get_annotations(base).keys()
        names |= {
            node.attr
            for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(base))))
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        }
    return names


@pytest.mark.parametrize(
    ("distribution", "module", "owner", "names"),
    USED,
    ids=[f"{module}.{owner}".rstrip(".") for _, module, owner, _ in USED],
)
def test_private_names_exist(distribution: str, module: str, owner: str, names: str) -> None:
    found = import_module(module)
    try:
        found = attrgetter(owner)(found) if owner else found
    except AttributeError:
        pytest.fail(f"{distribution} {version(distribution)}: {module} has no {owner}")
    missing = [
        name for name in names.split() if name not in names_of(found) and not hasattr(found, name)
    ]
    where = f"{module}.{owner}".rstrip(".")
    assert not missing, f"{distribution} {version(distribution)}: {where} has no {missing}"


@pytest.mark.parametrize("distribution", sorted(CAPPED))
def test_overridden_packages_are_capped_at_next_minor(distribution: str) -> None:
    (found,) = (
        each for each in map(Requirement, PROJECT["dependencies"]) if each.name == distribution
    )
    bounds = {each.operator: each.version.split(".") for each in found.specifier}
    *major, minor = bounds[">="][: len(bounds["<"])]
    assert bounds["<"] == [*major, str(int(minor) + 1)]
