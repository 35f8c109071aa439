# Crayon: data -> Original -> maps and patches -> answers -> labels -> refinements -> evaluations -> tables and figures.
# What each step reads and writes: workflow/rules. What steers it: params.yaml. Defaults of this tool: profiles/default.


container: "crayon.sif"  # with `--sdm apptainer` only; docs/cluster.md shows how to build it


include: "workflow/rules/common.smk"


rule all:
    default_target: True
    input:
        "results/report.html",  # which shows all others


include: "workflow/rules/download.smk"
include: "workflow/rules/original.smk"
include: "workflow/rules/interpret.smk"
include: "workflow/rules/annotate.smk"
include: "workflow/rules/auxiliary.smk"
include: "workflow/rules/transfer.smk"
include: "workflow/rules/refine.smk"
include: "workflow/rules/render.smk"
include: "workflow/rules/stages.smk"
