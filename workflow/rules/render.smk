# Tables and figures: results/<suite>/. Those of the active suite are copied to results/ on request, and state its name; a
# Markdown file is copied with the picture that it shows.
# One rule for each entry of crayon/report/registry.py. Those that compute nothing run where Snakemake runs, also on a
# cluster: they take seconds, and print their table to the person who waits for it.


rule active_result:
    input:
        lambda wildcards: PLAN.copies[wildcards.file],
    output:
        "results/{file}",
    log:
        f"logs/{PLAN.name}/copies/{{file}}.log",
    wildcard_constraints:
        file="|".join(map(re.escape, PLAN.copies)),
    localrule: True
    conda:
        "../envs/crayon.yaml"
    shell:
        "cp {input} results/ 2> {log}"


rule provenance:
    input:
        PLAN.inputs("provenance"),
        token=PLAN.token("provenance"),
    output:
        provenance=PLAN.plan.result_path("{result}.provenance.json"),
        record=PLAN.plan.result_path("{result}.provenance.record.json"),
    log:
        f"logs/{PLAN.name}/provenance/{{result}}.log",
    benchmark:
        f"logs/{PLAN.name}/provenance/{{result}}.tsv"
    localrule: True
    conda:
        "../envs/crayon.yaml"
    shell:
        "crayon --log {log} provenance {wildcards.result}"


for result in RENDERED:

    rule:
        name:
            result.name
        input:
            PLAN.inputs(result.name),
            token=PLAN.token(result.name),
        output:
            **rendered(result),
            record=PLAN.plan.result_path(f"{result.name}.record.json"),
        log:
            f"logs/{PLAN.name}/{result.name}.log",
        benchmark:
            f"logs/{PLAN.name}/{result.name}.tsv"
        localrule: not result.computes
        conda:
            "../envs/crayon.yaml"
        resources:
            gpu=PLAN.gpus * result.computes,
            runtime=more(60),
            mem_mb=more(16000),
        params:
            show="--show" if result.printed else "",
            name=result.name,
        shell:
            "crayon --log {log} render {params.name} {params.show}"
