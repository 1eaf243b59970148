"""From a recipe to a run directory: the only place that knows which concrete classes a run is made of."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

from reckon.algorithms.base import Algorithm
from reckon.algorithms.nll import NLL
from reckon.core import store
from reckon.core.config import digest
from reckon.core.errors import Interrupted, ReckonError
from reckon.core.events import EventLog
from reckon.core.stop import Stop
from reckon.data.micro import Texts, build_tokenizer
from reckon.engine.base import Sampling
from reckon.engine.native import NativeEngine
from reckon.learn.forward import Policy, Value
from reckon.learn.learner import Learner
from reckon.learn.reference import ReferenceModel
from reckon.models.load import end_ids, load_model
from reckon.models.template import PromptTemplate
from reckon.models.value import ValueModel
from reckon.rollout.collect import Rollouts
from reckon.rollout.sample import Sampler
from reckon.run.progress import Progress
from reckon.run.recipe import PretrainRecipe, RLRecipe
from reckon.run.record import compare_record, environment, inputs, write_record
from reckon.stages.evaluate import HeldOut, held_out_problems
from reckon.stages.train import Source, Train
from reckon.tasks.registry import build_task


@dataclass
class Run:
    """One run of one recipe in one directory; running it again continues it.

    Attributes:
        command: the command line, for the record.
        plugins: sha256 of each plugin file, in the order of the command line.
        claimed: whether the directory is this run's to write in.
    """

    name: str
    recipe: RLRecipe | PretrainRecipe
    out: Path
    command: str
    plugins: list[str]
    stop: Stop
    progress: Progress
    claimed: bool = False

    def execute(self) -> Path:
        """Run to the end and return the final checkpoint's folder.

        Raises ConfigError when the directory belongs to another recipe or another process, Interrupted (after saving)
        when stopped, and whatever else went wrong; every ending is on record in ``events.jsonl``.
        """
        with store.RunLock(self.out / "lock"):
            store.sweep(self.out)
            self.events = EventLog(self.out / "events.jsonl")
            finished = self._open()
            self.claimed = True
            if finished is not None:
                self.progress.note(f"This run is finished; nothing to do. Its model: {finished}")
                return finished
            self._step = 0
            try:
                checkpoint = self._train()
            except Interrupted as error:
                self.events.emit("run_end", self._step, status="interrupted", error=str(error))
                raise
            except ReckonError as error:
                self.events.emit("run_end", self._step, status="failed", error=str(error))
                raise
            except BaseException as error:
                self.events.emit("run_end", self._step, status="crashed", error=f"{type(error).__name__}: {error}")
                raise
            self.events.emit("run_end", self._step, status="done")
            return checkpoint

    def _open(self) -> Path | None:
        """Claim the directory, or recognise it; returns the final checkpoint if the run is already done."""
        record = self.out / "run.yaml"
        if not any(self.out.glob("stages/*/*")):
            # A run that failed before its first evaluation has nothing that other settings could spoil.
            self.events.path.unlink(missing_ok=True)
            write_record(record, self.name, self.recipe, self.command, self.plugins)
            self.events.emit("run_start", 0, recipe=self.name, digest=digest(self.recipe), **environment(self.recipe))
            return None
        differences = compare_record(record, self.recipe, self.plugins)
        lineage = self.out / "lineage.json"
        if lineage.exists():
            return self.out / str(json.loads(lineage.read_text())["stages"][-1]["outputs"]["model"]["path"])
        self.events.emit("resume", 0, **environment(self.recipe))
        if differences:
            message = f"continued in another environment ({'; '.join(differences)}): no longer exact to the bit"
            self.events.emit("warning", 0, code="environment", message=message)
            self.progress.note(message)
        return None

    def _train(self) -> Path:
        torch.set_num_threads(self.recipe.thread_count)
        started = time.time()
        model, tokenizer, algorithm, base = self._model()
        policy = Policy(model, self._temperature, entropy=algorithm.needs.entropy)
        reference = self._reference(algorithm, policy)
        updates = self.recipe.steps * algorithm.updates
        learner = Learner(policy, self.recipe.optim, steps=updates)
        sampler = self._sampler(model, tokenizer)
        folder = self.out / "stages" / "01-train"

        def published(updates: int) -> None:
            sampler.engine.version = updates

        train = Train(
            folder=folder,
            learner=learner,
            tokenizer=tokenizer,
            algorithm=algorithm,
            source=self._source(sampler, tokenizer, algorithm, reference),
            reference=reference,
            critic=self._critic(algorithm, model),
            max_generated_tokens=self.recipe.max_generated_tokens if isinstance(self.recipe, RLRecipe) else None,
            steps=self.recipe.steps,
            seed=self.recipe.seed,
            events=self.events,
            stop=self.stop,
            checkpoint=self.recipe.checkpoint,
            evaluate=HeldOut(
                folder,
                sampler,
                held_out_problems(sampler, self.recipe.eval.problems),
                self.recipe.eval.samples,
                self.recipe.seed,
                base,
                learner,
                self.events,
                self.stop.check,
                self.progress.eval,
            ),
            eval_every=self.recipe.eval.every,
            published=published,
            progress=self._tell,
        )
        checkpoint = train.run()
        self._record_lineage(checkpoint, started)
        return checkpoint

    def _tell(self, row: dict[str, Any]) -> None:
        self._step = row["step"]
        self.progress.step(row)

    @property
    def _temperature(self) -> float:
        """What the learner's log-probs are tempered by: as the rollouts are; texts are not sampled."""
        return self.recipe.rollout.temperature if isinstance(self.recipe, RLRecipe) else 1.0

    def _model(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Algorithm, str | None]:
        """The model to train, its tokenizer, the algorithm, and the model it starts from (None: scratch)."""
        if isinstance(self.recipe, RLRecipe):
            model, tokenizer = load_model(self.recipe.model, dtype=self.recipe.dtype, device=self.recipe.device)
            return model, tokenizer, self.recipe.algorithm, self.recipe.model
        tokenizer = build_tokenizer()
        shape = self.recipe.architecture
        torch.manual_seed(self.recipe.seed)
        config = Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=shape.hidden_size,
            intermediate_size=shape.intermediate_size,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            max_position_embeddings=shape.max_position_embeddings,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        model = Qwen2ForCausalLM(config).to(self.recipe.device, getattr(torch, self.recipe.dtype))
        return model, tokenizer, NLL(), None

    def _sampler(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Sampler:
        rollout = self.recipe.rollout
        return Sampler(
            task=build_task(self.recipe.task),
            engine=NativeEngine(model, tokenizer, max_running=self.recipe.max_running),
            tokenizer=tokenizer,
            template=PromptTemplate(self.recipe.template),
            sampling=Sampling(
                max_new_tokens=rollout.max_new_tokens,
                temperature=rollout.temperature,
                stop=rollout.stop,
                stop_ids=end_ids(model, tokenizer),
            ),
        )

    def _reference(self, algorithm: Algorithm, policy: Policy) -> ReferenceModel | None:
        config = algorithm.needs.reference
        return ReferenceModel(config, policy) if config is not None and config.kind != "iteration" else None

    def _critic(self, algorithm: Algorithm, model: PreTrainedModel) -> Learner | None:
        config = algorithm.needs.critic
        if config is None:
            return None
        optim = self.recipe.optim.model_copy(update={"lr": config.lr})
        return Learner(Value(ValueModel(model)), optim, steps=self.recipe.steps * config.updates)

    def _source(
        self, sampler: Sampler, tokenizer: Any, algorithm: Algorithm, reference: ReferenceModel | None
    ) -> Source:
        if isinstance(self.recipe, RLRecipe):
            anchor = None
            if algorithm.needs.anchor:
                assert reference is not None
                anchor = self._sampler(reference.policy.model, tokenizer)
            return Rollouts(
                sampler,
                self.recipe.rollout,
                self.recipe.reward,
                self.recipe.seed,
                greedy=algorithm.needs.greedy,
                anchor=anchor,
            )
        return Texts(self.recipe.text, tokenizer, self.recipe.texts_per_step, self.recipe.seed)

    def _record_lineage(self, checkpoint: Path, started: float) -> None:
        """Write which model came from which, by digest. Its presence means that the run is finished."""
        stage = {
            "name": "01-train",
            "kind": self.recipe.kind,
            "inputs": inputs(self.recipe),
            "config_digest": digest(self.recipe),
            "outputs": {
                "model": {
                    "path": str(checkpoint.relative_to(self.out)),
                    "digest": store.file_digest(checkpoint / store.MANIFEST),
                    "weights_sha256": store.file_digest(checkpoint / "model.safetensors"),
                }
            },
            "started": started,
            "ended": time.time(),
        }
        store.write_json(self.out / "lineage.json", {"stages": [stage]})
