# Answers, simulated where params.yaml says so and people's otherwise: annotations/. Labels made of them: labels/.


rule annotate:
    input:
        PLAN.inputs("annotate"),
        token=PLAN.token("annotate"),
    output:
        answers="annotations/{suite}/{benchmark}/{kind}.csv",
        record="annotations/{suite}/{benchmark}/{kind}.record.json",
    log:
        "logs/{suite}/annotate/{benchmark}/{kind}.log",
    benchmark:
        "logs/{suite}/annotate/{benchmark}/{kind}.tsv"
    wildcard_constraints:
        benchmark=PLAN.answered,
    priority: 70
    group:
        "labels"
    conda:
        "../envs/crayon.yaml"
    resources:
        runtime=more(30),
        mem_mb=more(8000),
    shell:
        "crayon --log {log} answer {wildcards.benchmark} {wildcards.kind}"


# People's answers that are missing: the job ends with the command that starts the annotation.
rule people:
    input:
        PLAN.shown,
    output:
        temp(PLAN.unanswered),
    log:
        f"logs/{PLAN.name}/people/{{benchmark}}/{{kind}}.log",
    group:
        "labels"
    conda:
        "../envs/crayon.yaml"
    shell:
        "crayon --log {log} answer {wildcards.benchmark} {wildcards.kind} && touch {output}"


rule ingest:
    input:
        PLAN.inputs("ingest"),
        token=PLAN.token("ingest"),
    output:
        labels="labels/{suite}/{benchmark}/{kind}.csv",
        summary="labels/{suite}/{benchmark}/{kind}.summary.json",
        record="labels/{suite}/{benchmark}/{kind}.record.json",
    log:
        "logs/{suite}/ingest/{benchmark}/{kind}.log",
    benchmark:
        "logs/{suite}/ingest/{benchmark}/{kind}.tsv"
    priority: 60
    group:
        "labels"
    conda:
        "../envs/crayon.yaml"
    resources:
        runtime=more(30),
        mem_mb=more(8000),
    shell:
        "crayon --log {log} ingest {wildcards.benchmark} {wildcards.kind}"
