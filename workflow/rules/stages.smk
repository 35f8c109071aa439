# One target a step, for the stages of dvc.yaml: `snakemake -- stage_refine` runs all refinements and what they need.


localrules:
    all,
    stage_download,
    stage_original,
    stage_interpret,
    stage_annotate,
    stage_ingest,
    stage_auxiliary,
    stage_refine,
    stage_evaluate,


rule stage_download:
    input:
        PLAN.outputs("compose", "download"),


rule stage_original:
    input:
        PLAN.outputs("pretrain", "original"),


rule stage_interpret:
    input:
        PLAN.outputs("interpret"),


rule stage_annotate:
    input:
        PLAN.outputs("annotate"),


rule stage_ingest:
    input:
        PLAN.outputs("ingest"),


rule stage_auxiliary:
    input:
        PLAN.outputs("auxiliary", "stage_one"),


rule stage_refine:
    input:
        PLAN.outputs("refine"),


rule stage_evaluate:
    input:
        PLAN.outputs("evaluate"),
