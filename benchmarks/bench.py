"""One run of the benchmark: who is measured beside whom, how much of it, and which rows come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import memory
import peers
import processes
import products
import table
from cases import CASES, NUM_IMAGES, Case
from memory import Load, Peak
from rounds import Contender, Timings, run_rounds
from table import GIB, Row


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Arguments:
      models: trained together in the main measurement of each case.
      few: numbers of models for which there are hardly enough to fill the cores.
      counts: numbers of models that are compared with vmap, and with each other.
      engine_only: a greater number of models, for the engine alone.
      many_images: training examples where many models are compared.
      book_images: the two numbers of pictures whose slope is the book's loop.
      budgets: bytes that the engine is told when its memory is measured.
    """

    rounds: int = 3
    num_images: int = NUM_IMAGES
    models: dict[str, int] = field(
        default_factory=lambda: {name: case.models for name, case in CASES.items()}
    )
    few: tuple[int, ...] = (1, 2, 3)
    counts: tuple[int, ...] = (8, 64, 512)
    engine_only: tuple[int, ...] = ()
    many_images: int = 1_280
    book_images: tuple[int, int] = (1_024, 7_168)
    budgets: tuple[int, ...] = (GIB, 2 * GIB)


QUICK = Sizes(
    rounds=1,
    num_images=1_024,
    models={"a": 2, "b": 2, "c": 4, "d": 20},
    counts=(2, 4),
    many_images=512,
    book_images=(256, 1_024),
    budgets=(GIB,),
)


@dataclass
class Bench:
    """One run of the benchmark: groups of contenders that are measured side by side, then the rows of the table."""

    cases: list[Case]
    sizes: Sizes
    device: str = "cpu"
    memory: int | None = None
    gpu_epochs: int = 10
    few_only: bool = False
    num_threads: int = field(default_factory=torch.get_num_threads)
    timings: dict[str, Timings] = field(default_factory=dict)
    peaks: list[tuple[Load, Peak | str]] = field(default_factory=list)

    @property
    def thread_counts(self) -> list[int]:
        return sorted({1, self.num_threads}) if self.device == "cpu" else [self.num_threads]

    @property
    def engine_counts(self) -> tuple[int, ...]:
        return self.sizes.counts + self.sizes.engine_only

    # --- what is measured side by side ---

    def groups(self) -> dict[str, list[Contender]]:
        """The images' cases share their peers, and so their rounds."""
        if self.few_only:
            return {case.letter: self._few(case) for case in self.cases}
        pictured = [case for case in self.cases if case.is_images]
        groups: dict[str, list[Contender]] = {}
        if pictured:
            on_gpu = self.device != "cpu"
            groups["images"] = [c for case in pictured for c in self._main(case)] + self._peers(pictured)
            groups["images"] += [self._roofline(case) for case in pictured] if on_gpu else []
            groups["many images"] = [c for case in pictured for c in self._many(self._fewer(case))]
        for case in self.cases:
            if not case.is_images:
                groups[case.letter] = [*self._main(case), *self._peers([case]), *self._many(case)]
        return {name: list({c.name: c for c in contenders}.values()) for name, contenders in groups.items()}

    def _main(self, case: Case) -> list[Contender]:
        """The engine with its many models and with few; the limit."""
        epochs = (1, self.gpu_epochs) if self.device != "cpu" else None
        many = self._engine(case, self.sizes.models[case.letter], epochs)
        if self.device != "cpu":
            return [many]
        limit = products.products_contenders(case, self.num_threads, self._products_models(case))
        return [many, *self._few(case), *limit]

    def _few(self, case: Case) -> list[Contender]:
        """The engine with few models; loops one after another, and as many at once as there are cores."""
        found = [self._engine(case, models) for models in self.sizes.few]
        found += [peers.loop_contender(case, count) for count in self.thread_counts]
        several = [models for models in self.sizes.few if models > 1] if self.num_threads > 1 else []
        return found + [processes.processes_contender(case, models, self.num_threads) for models in several]

    def _peers(self, cases: Sequence[Case]) -> list[Contender]:
        """What trains one model at a time."""
        case, device = cases[0], self.device
        found = [
            peers.loop_contender(case, count, autocast=autocast, device=device)
            for autocast in sorted({case.precision == "bfloat16" for case in cases} | {False})
            for count in self.thread_counts
        ]
        if device == "cpu" and self.num_threads > 1:
            found += [
                processes.processes_contender(case, self.num_threads, self.num_threads, autocast=autocast)
                for autocast in sorted({case.precision == "bfloat16" for case in cases} | {False})
            ]
        if case.is_images:
            num_images = case.num_images
            found.append(peers.book_contender(case, self.sizes.book_images, num_images, device=device))
        if case.letter != "d" and device == "cpu":
            found += [peers.sklearn_contender(case, count) for count in self.thread_counts]
        return found

    def _many(self, case: Case) -> list[Contender]:
        """The engine, vmap and JAX, by the number of models."""
        epochs = (
            (1, 21) if self.device != "cpu" else None
        )  # an epoch of so few images takes a GPU milliseconds
        found = [self._engine(case, models, epochs) for models in self.engine_counts]
        # On images, where vmap takes minutes, with all cores only: they are the faster there.
        counts = self.thread_counts[-1:] if case.is_images else self.thread_counts
        for models in self.sizes.counts:
            for autocast in sorted({False, case.precision == "bfloat16"}):
                found += [
                    peers.vmap_contender(case, models, n, autocast=autocast, device=self.device)
                    for n in counts
                ]
        if self.device == "cpu" and case.precision == "float32":
            found += [peers.jax_contender(case, self.sizes.counts[1], scan=scan) for scan in (False, True)]
        return found

    def _engine(self, case: Case, models: int, epochs: tuple[int, int] | None = None) -> Contender:
        return peers.engine_contender(case, models, epochs=epochs, device=self.device, memory=self.memory)

    def _roofline(self, case: Case) -> Contender:
        return products.roofline_contender(case, self.sizes.models[case.letter], self.device)

    def _fewer(self, case: Case) -> Case:
        return replace(case, num_images=self.sizes.many_images)

    def _products_models(self, case: Case) -> int:
        # A product of one small model is all overhead: there the limit is a batch of models.
        return 1 if case.is_images else self.sizes.counts[1]

    def loads(self) -> list[Load]:
        """Whose peak memory is measured: images on a CPU."""
        if self.few_only or self.device != "cpu" or not any(case.letter == "a" for case in self.cases):
            return []
        models, num_images = self.engine_counts[-1], self.sizes.many_images
        budgets = self.sizes.budgets if self.memory is None else (self.memory,)
        engine = [Load("engine", "a", models, num_images, budget) for budget in (*budgets, None)]
        return [*engine, Load("vmap", "a", self.sizes.counts[-1], num_images)]

    # --- running and reading ---

    def run(self, console: Console) -> None:
        """Measure everything, with a bar on `console`."""
        groups, loads = self.groups(), self.loads()
        total = sum((self._rounds(name) + 1) * len(contenders) for name, contenders in groups.items())
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=total + len(loads))
            for name, contenders in groups.items():

                def tell(step: str, name: str = name) -> None:
                    bar.update(task, advance=1, description=f"{name}: {step}")

                self.timings[name] = run_rounds(contenders, self._rounds(name), tell)
            for load in loads:
                bar.update(task, advance=1, description=f"peak memory of {load.who}, {load.models:,} models")
                self.peaks.append((load, memory.peak(load)))

    def _rounds(self, group: str) -> int:
        # Small cases take a second a round.
        return self.sizes.rounds if "images" in group or group in ("a", "b") else 2 * self.sizes.rounds - 1

    def rows(self) -> list[Row]:
        """The table."""
        if self.few_only:
            return [row for case in self.cases for row in self._rows_of_few(case, self.timings[case.letter])]
        return [row for case in self.cases for row in self._rows(case)]

    def _rows(self, case: Case) -> list[Row]:
        main = self.timings["images" if case.is_images else case.letter]
        many = self.timings["many images" if case.is_images else case.letter]
        letter, targets, models = case.letter, case.targets, self.sizes.models[case.letter]
        engine = peers.engine_name(case, models)
        loops = self._loops(self.num_threads)
        if engine in main.skipped:
            return [Row(letter, "engine", f"skipped: {main.skipped[engine]}")]
        on_cpu = self.device == "cpu"
        rows = [
            table.time_row(letter, main, engine, models),
            table.ratio_row(letter, main, loops, engine, targets.loop if on_cpu else None),
        ]
        if case.precision == "bfloat16":
            rows.append(table.ratio_row(letter, main, self._loops(self.num_threads, autocast=True), engine))
        if case.is_images:
            book = targets.book if on_cpu else targets.gpu_book
            rows.append(table.ratio_row(letter, main, [peers.BOOK], engine, book))
        if on_cpu:
            limits = products.products_names(case, self.num_threads, self._products_models(case))
            rows.append(table.share_row(letter, main, limits, engine, targets.products))
            if case.letter != "d":
                names = [peers.sklearn_name(count) for count in self.thread_counts]
                rows.append(table.ratio_row(letter, main, names, engine))
            rows += self._rows_of_few(case, main)
        else:
            limits = [self._roofline(case).name]
            rows.append(table.share_row(letter, main, limits, engine, targets.roofline))
            rows.append(table.device_memory_row(letter, main, engine))
        rows += self._rows_of_many(case, many)
        rows += [table.memory_row(load, peak) for load, peak in self.peaks if load.case == letter]
        return rows

    def _rows_of_few(self, case: Case, timings: Timings) -> list[Row]:
        return [
            table.ratio_row(
                case.letter,
                timings,
                self._loops(models),
                peers.engine_name(case, models),
                case.targets.few,
                what=f"{models} model{'s' if models > 1 else ''}, faster than",
            )
            for models in self.sizes.few
        ]

    def _loops(self, models: int, *, autocast: bool = False) -> list[str]:
        """Loops for that many models: one after another, and a process for each core."""
        names = [peers.loop_name(count, autocast=autocast) for count in self.thread_counts]
        if self.device != "cpu" or min(models, self.num_threads) == 1:
            return names
        return [*names, processes.processes_name(models, self.num_threads, autocast=autocast)]

    def _rows_of_many(self, case: Case, many: Timings) -> list[Row]:
        letter = case.letter
        rows = []
        for models in self.sizes.counts:
            engine = peers.engine_name(case, models)
            names = [
                peers.vmap_name(models, count, autocast=autocast)
                for count in self.thread_counts
                for autocast in sorted({False, case.precision == "bfloat16"})
            ]
            rows.append(table.ratio_row(letter, many, names, engine, case.targets.vmap))
        if self.device == "cpu" and case.precision == "float32":
            models = self.sizes.counts[1]
            names = [peers.jax_name(models, scan=scan) for scan in (False, True)]
            rows.append(table.ratio_row(letter, many, names, peers.engine_name(case, models)))
        if case.is_images:
            engines = [peers.engine_name(case, models) for models in self.engine_counts]
            rows.append(table.scaling_row(letter, many, engines, self.engine_counts))
        return rows

    def titles(self) -> dict[str, str]:
        """Case letters and what they train here."""
        return {
            case.letter: case.title
            if self.few_only
            else f"{case.title}; {self.sizes.models[case.letter]:,} models"
            for case in self.cases
        }

    def caption(self, made_by: dict[str, object]) -> list[str]:
        """What it was measured on, and what a reader must know."""
        sizes, amx = self.sizes, "with AMX" if made_by["amx"] else "without AMX"
        device = f"{torch.cuda.get_device_name(self.device)}, beside " if self.device != "cpu" else ""
        return [
            f"{device}{made_by['processor']}, {made_by['cores']} cores, {amx}; "
            f"torch {torch.__version__}, {self.num_threads} threads; rounds: {sizes.rounds}.",
            f"{self.cases[0].arms} runs share a seed and so their batches, a study's arms; vmap's and JAX's models "
            "share all. Of 1 and all threads the faster is the peer.",
            f"The book's loop is the slope between {sizes.book_images[0]:,} and {sizes.book_images[1]:,} pictures, "
            f"scaled to {sizes.num_images:,}. Comparisons with vmap and JAX, the cost a model and peak memory of "
            f"images are on {sizes.many_images:,} of them.",
        ]
