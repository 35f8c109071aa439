# Tables and figures: results/. They are of the active suite, and state its name.
# One rule for each entry of crayon/report/registry.py. Those that compute nothing run where Snakemake runs, also on a
# cluster: they take seconds, and print their table to the person who waits for it.


rule provenance:
    input:
        PLAN.inputs("provenance"),
        token=PLAN.token("provenance"),
    output:
        provenance="results/{result}.provenance.json",
        record="results/{result}.provenance.record.json",
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
            record=f"results/{result.name}.record.json",
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
