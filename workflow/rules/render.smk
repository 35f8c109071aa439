# Tables and figures: results/. They are of the active suite, and say so.


rule answers:
    input:
        PLAN.inputs("answers"),
        token=PLAN.token("answers"),
    output:
        answers="results/answers.csv",
        record="results/answers.record.json",
    log:
        f"logs/{PLAN.name}/answers.log",
    benchmark:
        f"logs/{PLAN.name}/answers.tsv"
    conda:
        "../envs/crayon.yaml"
    shell:
        "crayon --log {log} render answers"


rule provenance:
    input:
        PLAN.records,
        token=PLAN.token("provenance"),
    output:
        provenance="results/{result}.provenance.json",
        record="results/{result}.provenance.record.json",
    log:
        f"logs/{PLAN.name}/provenance/{{result}}.log",
    benchmark:
        f"logs/{PLAN.name}/provenance/{{result}}.tsv"
    conda:
        "../envs/crayon.yaml"
    shell:
        "crayon --log {log} provenance {wildcards.result}"


rule table1:
    input:
        PLAN.inputs("table1"),
        token=PLAN.token("table1"),
    output:
        table="results/table1.csv",
        markdown="results/table1.md",
        runs="results/runs.csv",
        metrics="results/metrics.json",
        record="results/table1.record.json",
    log:
        f"logs/{PLAN.name}/table1.log",
    benchmark:
        f"logs/{PLAN.name}/table1.tsv"
    conda:
        "../envs/crayon.yaml"
    shell:
        "crayon --log {log} render table1 --show"


rule controls:
    input:
        PLAN.inputs("controls"),
        token=PLAN.token("controls"),
    output:
        table="results/controls.csv",
        markdown="results/controls.md",
        record="results/controls.record.json",
    log:
        f"logs/{PLAN.name}/controls.log",
    benchmark:
        f"logs/{PLAN.name}/controls.tsv"
    conda:
        "../envs/crayon.yaml"
    shell:
        "crayon --log {log} render controls --show"


rule before_after:
    input:
        PLAN.inputs("before_after"),
        token=PLAN.token("before_after"),
    output:
        figure="results/before_after.png",
        record="results/before_after.record.json",
    log:
        f"logs/{PLAN.name}/before_after.log",
    benchmark:
        f"logs/{PLAN.name}/before_after.tsv"
    conda:
        "../envs/crayon.yaml"
    shell:
        "crayon --log {log} render before_after"
