"""vLLM in this process (`AsyncLLM`; its core runs in a process beside it). For vLLM 0.24 and later; what they do not share is asked for.

One such engine per process: vLLM's metrics registry is one per process. Text of a prompt can never become a control token of the model's
template. A generation that goes on from `spoken` throws new dice for what follows, as an undisturbed one need not have done.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal

from bus.errors import BadSettings
from inference.engine import Abilities, Chunk, End, Finish, Load, Part, Prompt, answer
from inference.engines.cleaning import cleaned, cleaner_of
from inference.errors import EngineFailed, EngineOverloaded, PromptRejected
from inference.prompts import check, dice

NO_DEADLINE: Final = 2**53  # priority of prompts without one: after all others
_FINISH: Final[Mapping[str, Finish]] = {"stop": "stop", "length": "length", "repetition": "stop"}


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmSettings:
    """The settings of vLLM for one pool. `extra` goes to `AsyncEngineArgs` as it is."""

    model: str
    """Folder or name on the Hugging Face hub."""
    slots: int = 8
    context: int = 4096
    """Most tokens of prompt and answer together."""
    quantization: str | None = None
    dtype: str = "auto"
    load_format: Literal["auto", "dummy"] = "auto"
    devices: str = ""
    """GPUs as in CUDA_VISIBLE_DEVICES, e.g. `0` or `2,3`; empty: all that this process sees."""
    cache_bytes: int = 0
    """Memory for the cache of keys and values; 0: `memory_share` of the device."""
    memory_share: float = 0.9
    eager: bool = False
    """Without CUDA graphs: starts sooner, runs slower."""
    temperature: float = 0.7
    thinks: bool = False
    """The model's answers begin inside a thought: nothing is spoken before it ends."""
    start_seconds: float = 600.0
    """Time that a start may take until it has failed."""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        faults = [
            *([] if self.model else ["model: wanted a folder or a name, found nothing"]),
            *([] if self.slots >= 1 else [f"slots: wanted 1 or more, found {self.slots}"]),
            *([] if self.context >= 2 else [f"context: wanted 2 tokens or more, found {self.context}"]),
            *([] if 0 < self.memory_share <= 1 else [f"memory_share: wanted more than 0, at most 1, found {self.memory_share}"]),
            *([] if 0 <= self.temperature <= 2 else [f"temperature: wanted 0 to 2, found {self.temperature}"]),
            *([] if self.cache_bytes >= 0 else [f"cache_bytes: wanted 0 or more, found {self.cache_bytes}"]),
        ]
        if faults:
            raise BadSettings("vllm: " + "; ".join(faults))


class VllmEngine:
    """See the module. `steps` counts the steps of its core that had something to generate."""

    name = "vllm"

    def __init__(self, settings: VllmSettings) -> None:
        self.settings = settings
        self.model = settings.model
        self.slots = settings.slots
        self.abilities = Abilities(
            json_schema=True, choices=True, token_ids=True, seed=True, resume=True, prefix_cache=True, context=settings.context
        )
        self._llm: Any = None
        self._tokenizer: Any = None
        self._control: re.Pattern[str] | None = None
        # Fast tokenizers do not bear two threads at once; one thread keeps long prompts off the event loop.
        self._tokenizing = ThreadPoolExecutor(1, "tokenize")
        self._running = 0
        self._ids = itertools.count()
        self._stats = (0, 0.0)
        self.steps = 0

    def open(self) -> AbstractAsyncContextManager[None]:
        return self._opened()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        await self._start()
        try:
            yield
        finally:
            llm, self._llm = self._llm, None
            if (handler := getattr(llm, "output_handler", None)) is not None:
                handler.cancel()  # or it reports the end of its core as a failure
            await asyncio.shield(asyncio.to_thread(llm.shutdown))
            del llm
            gc.collect()  # vLLM's engine refers to itself; left to the end of the process its finalizer complains

    async def _start(self) -> None:
        """Off the event loop, which has to answer by the ladder meanwhile. A start that nobody waits for any more is taken back."""
        started: list[Any] = []  # not as the thread's result: the thread would keep it for ever
        starting = asyncio.ensure_future(asyncio.to_thread(_start, self.settings, self._note, started))
        try:
            await asyncio.shield(starting)
            llm = started.pop()
        except asyncio.CancelledError:
            starting.add_done_callback(lambda done: None if done.cancelled() or done.exception() else started.pop().shutdown())
            raise
        except (BadSettings, EngineFailed):
            raise
        except Exception as error:
            raise EngineFailed(
                f"vLLM did not start with {self.settings.model}: {_said(error)}; its own log says more", engine=self.name
            ) from error
        tokenizer = llm.get_tokenizer()
        self._tokenizer = await tokenizer if inspect.isawaitable(tokenizer) else tokenizer
        special = sorted({*self._tokenizer.get_added_vocab(), *self._tokenizer.all_special_tokens}, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, special))) if special else None
        self._llm = llm

    def _note(self, running: int, waiting: int, cache: float) -> None:
        self._stats = (waiting, cache)
        self.steps += running > 0

    async def ready(self, warm: Sequence[Prompt] = ()) -> None:
        await answer(self, Prompt(parts=(Part("user", "."),), max_tokens=2))
        for prompt in warm:
            await answer(self, prompt)

    async def healthy(self) -> bool:
        if self._llm is None:
            return False
        try:
            await self._llm.check_health()
        except Exception:  # whatever it is: an engine that cannot say that it is well is not
            return False
        return not self._llm.errored

    def load(self) -> Load:
        return Load(self._running, *self._stats)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Chunk, None]:
        check(prompt, self.abilities, self.name)
        if self._llm is None:
            raise EngineFailed("wanted an open engine, found a closed one: generate inside `async with engine.open()`", engine=self.name)
        if self._running >= self.slots:
            raise EngineOverloaded(f"wanted a free slot, found all {self.slots} taken: wait for one to end", slots=self.slots)
        self._running += 1
        try:
            ids = await self._tokens(prompt)
            cleaner, made = cleaner_of(prompt, thinks=self.settings.thinks), self._outputs(prompt, ids)
            async with aclosing(made if cleaner is None else cleaned(made, prompt, cleaner, prompt_tokens=len(ids))) as outputs:
                async for chunk in outputs:
                    yield chunk
        finally:
            self._running -= 1

    async def _outputs(self, prompt: Prompt, ids: list[int]) -> AsyncGenerator[Chunk, None]:
        llm, name = self._llm, f"{prompt.id or 'prompt'}-{next(self._ids)}"
        priority = NO_DEADLINE if prompt.deadline is None else int(prompt.deadline * 1000)
        made, ended = 0, False
        try:
            async with aclosing(llm.generate(_input(ids), self._params(prompt), name, priority=priority)) as outputs:
                async for output in outputs:
                    text = output.outputs[0]
                    made += len(text.token_ids)
                    ended = output.finished
                    end = End(_finish(text, prompt), len(ids), output.num_cached_tokens or 0, made) if ended else None
                    yield Chunk(text.text, len(text.token_ids), tuple(text.token_ids), end)
        except (EngineFailed, PromptRejected, EngineOverloaded):
            raise
        except Exception as error:
            ended = True
            raise _translated(error, prompt, begun=made > 0) from error
        finally:
            if not ended:
                # vLLM aborts what is closed while it yields, but not what is cancelled while its core is just taking the request.
                await asyncio.shield(asyncio.ensure_future(_abort(llm, name)))

    async def _tokens(self, prompt: Prompt) -> list[int]:
        """The prompt in the model's vocabulary. Raises `PromptRejected`."""
        if prompt.token_ids:
            size = len(self._tokenizer)
            if max(*prompt.token_ids, *prompt.spoken_ids, 0) >= size:
                raise PromptRejected(f"wanted token ids below {size}, found {max(*prompt.token_ids, *prompt.spoken_ids, 0)}", size=size)
            ids = [*prompt.token_ids, *self._spoken(prompt)]
        else:
            ids = await asyncio.get_running_loop().run_in_executor(self._tokenizing, self._render, prompt)
        if len(ids) + prompt.max_tokens > self.settings.context:
            raise PromptRejected(
                f"wanted at most {self.settings.context} tokens, found {len(ids)} and {prompt.max_tokens} to generate: ask for less",
                code="PROMPT_TOO_LONG",
                context=self.settings.context,
                prompt_tokens=len(ids),
            )
        return ids

    def _render(self, prompt: Prompt) -> list[int]:
        said = [{"role": part.role, "content": self._harmless(part.text)} for part in prompt.parts]
        if getattr(self._tokenizer, "chat_template", None):
            ids = self._tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=True, return_dict=False)
        else:
            ids = self._tokenizer.encode("\n".join([f"{part['role']}: {part['content']}" for part in said] + ["assistant:"]))
        return [*ids, *self._spoken(prompt)]

    def _spoken(self, prompt: Prompt) -> list[int]:
        if prompt.spoken_ids or not prompt.spoken:
            return list(prompt.spoken_ids)
        ids: list[int] = self._tokenizer.encode(self._harmless(prompt.spoken), add_special_tokens=False)
        return ids

    def _harmless(self, text: str) -> str:
        """`text` in which no control token of the model's template is left: whoever writes `<|im_end|>` has written nine characters."""
        return text if self._control is None else self._control.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)

    def _params(self, prompt: Prompt) -> Any:
        from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

        structured = None
        if prompt.json_schema:
            structured = StructuredOutputsParams(json=prompt.json_schema)
        elif prompt.choices:
            structured = StructuredOutputsParams(choice=list(prompt.choices))
        return SamplingParams(
            max_tokens=prompt.max_tokens,
            seed=dice(prompt),
            temperature=self.settings.temperature if prompt.temperature is None else prompt.temperature,
            stop=list(prompt.stop),
            structured_outputs=structured,
            output_kind=RequestOutputKind.DELTA,
        )


def _start(settings: VllmSettings, note: Callable[[int, int, float], None], started: list[Any]) -> None:
    """Put an AsyncLLM that is up into `started`. Blocks for as long as that takes."""
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")  # this process has threads and servers that a fork would copy
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ["VLLM_ENGINE_READY_TIMEOUT_S"] = str(int(settings.start_seconds))
    if settings.devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = settings.devices
    if Path(settings.model).is_dir():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is here: a start must not wait for a hub that may be out of reach
    try:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM
    except ImportError as error:
        raise BadSettings(f"engine vllm: wanted vLLM in this environment, found {error}: install it with 'make vllm'") from error
    started.append(AsyncLLM.from_engine_args(_arguments(AsyncEngineArgs, settings), stat_loggers=[_stat_logger(note)]))


def _arguments(kind: Any, settings: VllmSettings) -> Any:
    """Make vLLM's arguments; those that this version does not know are left out, unless they come from `extra`."""
    from vllm.config import StructuredOutputsConfig

    known = {each.name for each in fields(kind)}
    if unknown := sorted(set(settings.extra) - known):
        raise BadSettings(f"engine vllm: this version of vLLM has no setting {', '.join(unknown)}: leave it out or change the version")
    wanted = {
        "model": settings.model,
        "max_model_len": settings.context,
        "max_num_seqs": settings.slots,
        "quantization": settings.quantization,
        "dtype": settings.dtype,
        "load_format": settings.load_format,
        "enforce_eager": settings.eager,
        "gpu_memory_utilization": settings.memory_share,
        "scheduling_policy": "priority",  # of what waits, the earliest deadline is next
        "enable_prefix_caching": True,
        "enable_log_requests": False,
        "disable_log_stats": True,
        "stream_interval": 1,
        # Guidance knows more of JSON Schema than the default, compiles as it goes, and can leave whitespace out.
        "structured_outputs_config": StructuredOutputsConfig(backend="guidance", disable_any_whitespace=True),
        "seed": 0,
        **({"kv_cache_memory_bytes": settings.cache_bytes} if settings.cache_bytes else {}),
    }
    return kind(**({name: value for name, value in wanted.items() if name in known} | dict(settings.extra)))


def _stat_logger(note: Callable[[int, int, float], None]) -> Any:
    from vllm.v1.metrics.loggers import StatLoggerBase

    class Notes(StatLoggerBase):  # type: ignore[misc]
        """Passes on how busy the scheduler is; its interface is not stable, so nothing else is relied on."""

        def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
            pass

        def record(self, scheduler_stats: Any = None, *_: Any, **__: Any) -> None:
            if scheduler_stats is not None:
                note(scheduler_stats.num_running_reqs, scheduler_stats.num_waiting_reqs, getattr(scheduler_stats, "kv_cache_usage", 0.0))

        def log_engine_initialized(self) -> None:
            pass

    return Notes


def _input(ids: list[int]) -> Any:
    from vllm.inputs import tokens_input

    return tokens_input(ids)


def _finish(text: Any, prompt: Prompt) -> Finish:
    finish = _FINISH.get(text.finish_reason)
    if finish is None:
        raise EngineFailed(f"vLLM ended the answer with {text.finish_reason!r}: it is shutting down or broken", finish=text.finish_reason)
    return "matched" if finish == "stop" and (prompt.json_schema or prompt.choices) else finish


async def _abort(llm: Any, name: str) -> None:
    try:
        await llm.abort(name)
    except Exception:  # a dead engine runs nothing that would have to stop
        return


def _translated(error: Exception, prompt: Prompt, *, begun: bool) -> Exception:
    """Translate an exception of vLLM for the worker. Names are compared, because their modules moved between versions."""
    names = {kind.__name__ for each in (error, error.__cause__) if each is not None for kind in type(each).__mro__}
    if names & {"QueueOverflowError", "MaxQueuedTokensError"}:
        return EngineOverloaded(f"vLLM takes no more at the moment: {_said(error)}")
    if not begun and names & {"VLLMClientError", "VLLMValidationError", "ValueError", "TypeError"} and "EngineDeadError" not in names:
        return PromptRejected(f"vLLM refuses the prompt: {_said(error)}", code="BAD_SCHEMA" if prompt.json_schema else None)
    return EngineFailed(f"vLLM failed: {_said(error)}; open the engine again", engine="vllm")


def _said(error: BaseException) -> str:
    cause = error.__cause__
    return f"{type(error).__name__}: {error}"[:300] + (f" because of {type(cause).__name__}: {cause}"[:300] if cause else "")


def tiny(model: Path, **changes: Any) -> VllmSettings:
    """Settings for `inference.tiny_model` on a small CPU."""
    base = VllmSettings(model=str(model), slots=4, context=1024, dtype="bfloat16", load_format="dummy", eager=True, cache_bytes=256 << 20)
    return replace(base, **changes)
