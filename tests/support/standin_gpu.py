"""A GPU without hardware: tensors on ``cuda:0`` that hold CPU memory and refuse to be mixed.

Inside of :class:`StandIn` the CPU build of torch believes in one CUDA device. ``.to("cuda")``,
factories, autograd, fused optimizers and Lightning work, autocast follows CUDA's own lists, and
code that asks for ``device.type == "cuda"`` or ``torch.cuda.is_available()`` goes the GPU's way.
An operation on tensors of both sides is a :class:`MixedDevicesError`; whatever would let the host
wait for a GPU is noted with its line, and is a :class:`HostWaitError` inside of
:meth:`StandIn.no_waits`.

What waits: a value read back (``item``, ``bool``, ``tolist``, ``.cpu()``), sending pageable memory
or sending without ``non_blocking``, shapes that depend on values (``nonzero``, masks as indices,
``unique``, ``repeat_interleave``), indices on the other side, checked linear algebra,
``synchronize``.

Limits: no kernel of CUDA runs, so that nothing is said of speed, of rounding in TF32, of memory, or
of kernels that wait inside; no second device, no compiler; some indexing by what lies on the CPU
ends in an error of torch's own instead of a wait that is noted. Two pointers of the loaded library
are bent (the table of device guards, and what says that CUDA was built), for the torch that is
pinned; use it in a process of its own, before the first backward pass, which counts the devices.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
DEVICE = torch.device("cuda", 0)
CPU = torch.device("cpu")
MEMORY = 16 * 10**9
_CUDA, _OURS = 1, 20  # c10::DeviceType: CUDA, PrivateUse1
_IS_BUILT, _HAS_CONTEXT = 2, 4  # places in the virtual table of at::CUDAHooksInterface
_REGISTRY = "_ZN3c104impl26device_guard_impl_registryE"

# Their kernels on CUDA read a result back, or an error's code.
READS_BACK = {
    aten._local_scalar_dense, aten.is_nonzero, aten.equal, aten.nonzero, aten.masked_select,
    aten._unique2, aten.unique_dim, aten.unique_consecutive, aten.bincount,
    aten._linalg_check_errors, aten.linalg_eigh, aten._linalg_eigh, aten._linalg_svd,
    aten.linalg_lstsq, aten._linalg_det,
    aten._linalg_slogdet, aten.linalg_inv_ex, aten._linalg_solve_ex, aten.linalg_lu_factor_ex,
}  # fmt: skip
HALF_TO_FLOAT = {aten._softmax, aten._log_softmax}
SOFTMAX_BACKWARD = {aten._softmax_backward_data, aten._log_softmax_backward_data}
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index}


class MixedDevicesError(RuntimeError):
    """An operation got tensors of the CPU and of the stand-in."""


class HostWaitError(RuntimeError):
    """The host would wait for the GPU where it must not."""


class Wait(NamedTuple):
    """A place where the host waits, why, in which step of a fit, and whether its epoch ends there.

    The step is None outside of a fit's steps.
    """

    where: str
    why: str
    step: int | None
    last: bool


class _Guard(torch._C._acc.DeviceGuard):
    def type_(self) -> Any:
        return torch._C._autograd.DeviceType.CUDA


_kept: list[Any] = []  # what the library's pointers point to


def _link() -> None:
    """Let autograd and autocast of the CPU build take tensors of CUDA for granted; once."""
    if _kept or torch.version.cuda is not None:
        return
    guard = _Guard()
    torch._C._acc.register_python_privateuseone_device_guard(guard)
    libraries = Path(torch.__file__).parent / "lib"
    registry = (ctypes.c_void_p * 24).in_dll(ctypes.CDLL(str(libraries / "libc10.so")), _REGISTRY)
    registry[_CUDA] = registry[_OURS]
    hooks = ctypes.CDLL(str(libraries / "libtorch_cpu.so"))._ZN2at6detail12getCUDAHooksEv
    hooks.restype = ctypes.c_void_p
    table_of_hooks = ctypes.c_void_p.from_address(hooks())
    table = (ctypes.c_void_p * 64)()
    ctypes.memmove(table, table_of_hooks.value, ctypes.sizeof(table))
    yes = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)(lambda this: True)
    table[_IS_BUILT] = table[_HAS_CONTEXT] = ctypes.cast(yes, ctypes.c_void_p).value
    table_of_hooks.value = ctypes.addressof(table)
    _kept.extend([guard, table, yes])


class DeviceTensor(torch.Tensor):
    """A tensor on the stand-in; ``raw`` holds its values."""

    raw: torch.Tensor

    @staticmethod
    def __new__(cls, raw: torch.Tensor) -> DeviceTensor:
        made: DeviceTensor = torch.Tensor._make_wrapper_subclass(
            cls,
            raw.size(),
            strides=raw.stride(),
            storage_offset=raw.storage_offset(),
            dtype=raw.dtype,
            layout=raw.layout,
            device=DEVICE,
        )
        return made

    def __init__(self, raw: torch.Tensor) -> None:
        self.raw = raw

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        """With this a module that moves swaps its tensors: parameters stay the same objects."""
        return ["raw"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, torch.Tensor], *_: Any) -> DeviceTensor:
        return DeviceTensor(inner["raw"])

    def __reduce_ex__(self, protocol: Any) -> Any:  # pickled as of the CPU
        _note("pickled")
        return self.raw.detach().clone().__reduce_ex__(protocol)

    def __repr__(self, **_: Any) -> str:
        return f"DeviceTensor({self.raw!r})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if not self.ndim else repr(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        with torch.no_grad():
            new: Any = DeviceTensor(self.raw.detach().clone())
        if isinstance(self, torch.nn.Parameter):
            new = torch.nn.Parameter(new, self.requires_grad)
        else:
            new.requires_grad_(self.requires_grad)
        memo[id(self)] = new
        return new

    def tolist(self) -> Any:
        return self.detach().cpu().tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    """Sees what has no tensor of the stand-in among its arguments: factories, and sending."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})


_here: StandIn | None = None


def _is_ours(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


def _frames() -> Iterator[Any]:
    frame = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back  # type: ignore[assignment]


def _where() -> Wait:
    """Return the innermost line of the package, else of Lightning or torch, and the fit's step."""
    ours, theirs, step, last = None, None, None, False
    for frame in _frames():
        name = frame.f_code.co_filename
        place = f"{frame.f_lineno} {frame.f_code.co_name}"
        if ours is None and name.endswith("standin_cases.py"):
            ours = f"standin_cases.py:{place}"
        if ours is None and "/hyperspec/" in name:
            ours = f"{name.rsplit('/hyperspec/', 1)[1]}:{place}"
        if ours is None and "/pytorch_lightning/" in name:
            ours = f"{name.rsplit('site-packages/', 1)[-1]}:{place}"
        if theirs is None and "/torch/" in name:
            theirs = f"{name.rsplit('site-packages/', 1)[-1]}:{place}"
        if name.endswith("training_epoch_loop.py") and frame.f_code.co_name == "advance":
            loop = frame.f_locals["self"]
            step, last = loop.batch_idx, loop.batch_progress.is_last_batch
    return Wait(ours or theirs or "elsewhere", "", step, last)


def _note(why: str) -> None:
    if _here is not None:
        _here.note(why)


class _Pinned:
    """Storages of the CPU that count as page-locked."""

    def __init__(self) -> None:
        self._keys: set[int] = set()
        self._registered: dict[int, int] = {}  # address and size of what CUDA was told of

    def register(self, address: int, size: int, flags: int) -> int:
        self._registered[address] = size
        return 0  # cudaSuccess

    def unregister(self, address: int) -> int:
        del self._registered[address]
        return 0

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        self._keys.add(storage._cdata)
        weakref.finalize(storage, self._keys.discard, storage._cdata)
        return tensor

    def __contains__(self, tensor: torch.Tensor) -> bool:
        storage = tensor.untyped_storage()
        if storage._cdata in self._keys:
            return True
        at = storage.data_ptr()
        return any(start <= at < start + size for start, size in self._registered.items())


PINNED = _Pinned()


def _sides(args: Any, kwargs: Any) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    every = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    ours = [tensor for tensor in every if isinstance(tensor, DeviceTensor)]
    return ours, [tensor for tensor in every if not isinstance(tensor, DeviceTensor)]


def _check_copy(packet: Any, args: Any, kwargs: Any) -> bool:
    """Note a copy that waits; say whether it leaves the stand-in."""
    source = args[1] if packet is aten.copy_ else args[0]
    there = isinstance(source, DeviceTensor)
    if packet is aten.copy_:
        goes_to_us = isinstance(args[0], DeviceTensor)
        free = bool(args[2]) if len(args) > 2 else bool(kwargs.get("non_blocking"))
    else:
        device = kwargs.get("device")
        goes_to_us = there if device is None else _is_ours(device)
        free = bool(kwargs.get("non_blocking"))
    if there and not goes_to_us:
        lands = packet is aten.copy_ and args[0] in PINNED
        if not (free and lands):
            _note("brought back to the CPU")
    elif goes_to_us and not there:
        if packet is aten.copy_ and not source.ndim and source.numel() == 1:
            return False  # a number: it travels with the kernel
        if source not in PINNED:
            _note("sent from pageable memory")
        elif not free:
            _note("sent without non_blocking")
    return there and not goes_to_us


def _check_index(func: Any, args: Any) -> None:
    places = [leaf for leaf in tree_leaves(args[1]) if isinstance(leaf, torch.Tensor)]
    if not isinstance(args[0], DeviceTensor):
        raise MixedDevicesError(
            f"{func}: a tensor of the CPU indexed on the GPU, at {_where().where}"
        )
    if any(not isinstance(place, DeviceTensor) for place in places):
        _note("indices sent from the CPU")
    value = args[2] if len(args) > 2 else None
    fills = isinstance(value, torch.Tensor) and value.numel() == 1  # becomes masked_fill
    if any(place.dtype in (torch.bool, torch.uint8) for place in places) and not fills:
        _note("a mask as index")
    if isinstance(value, torch.Tensor) and value.ndim and not isinstance(value, DeviceTensor):
        raise MixedDevicesError(f"{func}: values of the CPU, at {_where().where}")


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    packet = func._overloadpacket
    if packet is aten.to:  # not taken apart in inference mode
        named = ("dtype", "device", "non_blocking", "memory_format")
        func, args = aten._to_copy.default, args[:1]
        kwargs = {key: value for key, value in kwargs.items() if key in named}
        packet = aten._to_copy
    ours, theirs = _sides(args, kwargs)
    if not ours and not _is_ours(kwargs.get("device")):
        pinned = kwargs.get("pin_memory")
        out = func(*args, **{**kwargs, "pin_memory": False} if pinned else kwargs)
        return PINNED.add(out) if pinned else out
    leaves = False
    if packet in (aten._to_copy, aten.copy_):
        leaves = _check_copy(packet, args, kwargs)
    elif packet in INDEXING:
        _check_index(func, args)
    elif any(tensor.ndim for tensor in theirs):
        raise MixedDevicesError(
            f"{func}: {[tuple(t.shape) for t in theirs]} on the CPU, "
            f"{[tuple(t.shape) for t in ours]} on the GPU, at {_where().where}"
        )
    if packet in READS_BACK:
        _note(str(packet).removeprefix("aten."))
    elif packet is aten.repeat_interleave and kwargs.get("output_size") is None:
        _note("repeat_interleave without output_size")
    out = _compute(func, args, kwargs)
    if leaves and packet is not aten.copy_:
        return out
    return _wrapped(func, args, kwargs, out, ours)


def _compute(func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operation on what the tensors hold; random ones draw from the device's generator."""

    def raw(leaf: Any) -> Any:
        if isinstance(leaf, DeviceTensor):
            return leaf.raw
        return CPU if isinstance(leaf, torch.device) and leaf.type == "cuda" else leaf

    plain, words = tree_map(raw, args), tree_map(raw, kwargs)
    words.pop("pin_memory", None)
    own = torch.Tag.nondeterministic_seeded in func.tags and words.get("generator") is None
    if own and _here is not None:
        states = torch.get_rng_state()
        torch.set_rng_state(_here.generator.get_state())
        try:
            out = func(*plain, **words)
            _here.generator.set_state(torch.get_rng_state())
        finally:
            torch.set_rng_state(states)
    elif func._overloadpacket in HALF_TO_FLOAT and plain[2]:  # one kernel on CUDA, none on a CPU
        out = func(plain[0].float(), plain[1], False)
    elif func._overloadpacket in SOFTMAX_BACKWARD and plain[3] != plain[0].dtype:
        out = func(*plain[:3], plain[0].dtype).to(plain[3])
    elif func._overloadpacket is aten.convolution_backward:
        out = _convolution_backward(func, plain)
    else:
        out = func(*plain, **words)
    copied = func._overloadpacket is aten._to_copy and isinstance(out, torch.Tensor)
    return out.clone() if copied and out is plain[0] else out


def _convolution_backward(func: Any, plain: Any) -> Any:
    """Run it in float32: in bfloat16 the CPU's kernel leaves some gradients of 1 x 1 maps unset.

    Of a kernel of 3 x 3 on such a map only the middle is used. Finite inputs then have now and then
    a NaN among the gradients of the others (oneDNN in torch 2.13), which says nothing of CUDA.
    """
    kind = plain[0].dtype
    if kind not in (torch.bfloat16, torch.float16):
        return func(*plain)
    wide = tuple(one.float() for one in plain[:3])
    return tuple(one if one is None else one.to(kind) for one in func(*wide, *plain[3:]))


def _wrapped(func: Any, args: Any, kwargs: Any, out: Any, ours: list[torch.Tensor]) -> Any:
    if func._overloadpacket in (aten._local_scalar_dense, aten.equal, aten.is_nonzero):
        return out
    back = {id(tensor.raw): tensor for tensor in ours if isinstance(tensor, DeviceTensor)}
    if func._overloadpacket is aten.copy_ and not isinstance(args[0], DeviceTensor):
        return args[0]

    def wrap(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        return back[id(leaf)] if id(leaf) in back else DeviceTensor(leaf)

    return tree_map(wrap, out)


class _Event:
    """An event that has happened. Waiting for it counts on the thread that trains alone."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def record(self, *_: Any) -> None: ...

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        if threading.current_thread() is threading.main_thread():
            _note("Event.synchronize")

    def wait(self, *_: Any) -> None: ...

    def elapsed_time(self, other: Any) -> float:
        return 1.0


class _Stream:
    device = DEVICE

    def record_event(self, event: Any = None) -> _Event:
        return event or _Event()

    def synchronize(self) -> None:
        _note("Stream.synchronize")

    def wait_event(self, event: Any) -> None: ...

    def wait_stream(self, stream: Any) -> None: ...


class _Runtime:
    """What is called of CUDA's own runtime."""

    cudaHostRegister = staticmethod(PINNED.register)  # noqa: N815 - CUDA's names
    cudaHostUnregister = staticmethod(PINNED.unregister)  # noqa: N815


class _Properties:
    name, major, minor, total_memory, multi_processor_count = "stand-in", 9, 0, MEMORY, 8


class StandIn:
    """Makes one CUDA device inside, and notes where the host waits for it."""

    def __init__(self) -> None:
        self.waits: list[Wait] = []
        self.generator = torch.Generator().manual_seed(0)
        self._strict = False
        self._stack = contextlib.ExitStack()

    def note(self, why: str) -> None:
        """Remember that the host waits here."""
        wait = _where()._replace(why=why)
        if self._strict:
            raise HostWaitError(f"the host waits at {wait.where}: {why}")
        self.waits.append(wait)

    def counted(self) -> Counter[str]:
        """Return how often the host has waited, by line and reason."""
        return Counter(f"{wait.where}: {wait.why}" for wait in self.waits)

    @contextlib.contextmanager
    def no_waits(self) -> Iterator[None]:
        """Fail at the line where the host would wait."""
        self._strict = True
        try:
            yield
        finally:
            self._strict = False

    def __enter__(self) -> StandIn:
        global _here
        _link()
        _here = self
        for patch in (*self._cuda(), *_factories()):
            self._stack.enter_context(patch)
        self._stack.enter_context(_Mode())
        return self

    def __exit__(self, *_: Any) -> None:
        global _here
        self._stack.close()
        _here = None

    def _cuda(self) -> Iterator[Any]:
        """Give what is patched in ``torch.cuda``."""
        none: Callable[..., None] = lambda *_, **__: None  # noqa: E731
        found: dict[str, Any] = {
            "_lazy_init": none,
            "is_available": lambda: True,
            "is_initialized": lambda: True,
            "device_count": lambda: 1,
            "current_device": lambda: 0,
            "set_device": none,
            "is_bf16_supported": lambda *_: True,
            "get_device_name": lambda *_: "stand-in",
            "get_device_capability": lambda *_: (9, 0),
            "get_device_properties": lambda *_: _Properties(),
            "mem_get_info": lambda *_: (MEMORY, MEMORY),
            "memory_allocated": lambda *_: 0,
            "max_memory_allocated": lambda *_: 0,
            "memory_reserved": lambda *_: 0,
            "reset_peak_memory_stats": none,
            "empty_cache": none,
            "cudart": _Runtime,
            "check_error": none,
            "synchronize": lambda *_: self.note("torch.cuda.synchronize"),
            "is_current_stream_capturing": lambda: False,
            "current_stream": lambda *_: _Stream(),
            "Stream": lambda *_, **__: _Stream(),
            "stream": lambda *_: contextlib.nullcontext(),
            "Event": _Event,
            "default_generators": (self.generator,),
            "manual_seed": lambda seed: self.generator.manual_seed(seed),
            "manual_seed_all": lambda seed: self.generator.manual_seed(seed),
            "get_rng_state": lambda *_: self.generator.get_state(),
            "get_rng_state_all": lambda: [self.generator.get_state()],
            "set_rng_state": lambda state, *_: self.generator.set_state(state),
            "set_rng_state_all": lambda states: self.generator.set_state(states[0]),
        }
        for name, value in found.items():
            yield mock.patch.object(torch.cuda, name, value)
        yield mock.patch.object(torch.accelerator, "empty_host_cache", none)
        yield mock.patch.object(torch._C, "_cuda_clearCublasWorkspaces", none, create=True)


def _factories() -> Iterator[Any]:
    """Patch what runs below or beside the dispatch mode."""
    real_generator, real_empty = torch.Generator, torch.empty

    class Generator:
        def __new__(cls, device: Any = "cpu") -> Any:
            return real_generator("cpu" if _is_ours(device) else device)

    def sent(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def made(*args: Any, device: Any = None, **words: Any) -> torch.Tensor:
            if not _is_ours(device):
                return make(*args, device=device, **words)
            data, *rest = args
            return make(data, *rest, **words).to(device)

        return made

    def empty(*args: Any, pin_memory: bool = False, **words: Any) -> torch.Tensor:
        made = real_empty(*args, **words)
        return PINNED.add(made) if pin_memory else made

    def pin(self: torch.Tensor, *_: Any) -> torch.Tensor:
        if isinstance(self, DeviceTensor):
            raise RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be")
        return self if self in PINNED else PINNED.add(self.clone())

    yield mock.patch.object(torch, "Generator", Generator)
    yield mock.patch.object(torch, "tensor", sent(torch.tensor))
    yield mock.patch.object(torch, "as_tensor", sent(torch.as_tensor))
    yield mock.patch.object(torch, "empty", empty)
    yield mock.patch.object(
        torch, "inference_mode", torch.no_grad
    )  # wrappers are never inference's
    yield mock.patch.object(torch.Tensor, "pin_memory", pin)
    yield mock.patch.object(torch.Tensor, "is_pinned", lambda self, *_: self in PINNED)
