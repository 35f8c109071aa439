# Refinements, runs/<suite>/<benchmark>/<run>/<seed>/, and their metrics under evaluations/.
# A rule serves the runs and seeds of one batch, because a process start costs more than a miniature's training: those of one
# method or control ({run}) or, with `runs_per_job`, of several; or a study's variations of a method. The seed of
# results/quick.md is a batch of its own. With `evaluate_together`, one process evaluates all methods of a benchmark, and
# one all controls.
# The output of such a rule is one file that stands for those of the batch, so that Snakemake deletes none of them: only the
# runs that the token names are trained, and those that a stopped job has finished are kept.


for number, batch in enumerate(PLAN.batches):
    if PLAN.refines(batch):

        rule:
            name:
                f"refine_{number}"
            input:
                PLAN.batch_inputs("refine", batch),
                token=PLAN.batch_token("refine", batch),
            output:
                touch(PLAN.batch_done("refine", batch)),
            log:
                f"logs/{PLAN.name}/refine/{{benchmark}}/{batch.head}/{batch.seeds[0]}.log",
            benchmark:
                f"logs/{PLAN.name}/refine/{{benchmark}}/{batch.head}/{batch.seeds[0]}.tsv"
            wildcard_constraints:
                **constraints(batch),
            group:
                "run"
            conda:
                "../envs/crayon.yaml"
            threads: SUITE.compute.threads
            resources:
                gpu=PLAN.gpus,
                runtime=more(480),
                mem_mb=more(24000),
            params:
                runs=PLAN.names(batch),
                seeds=[f"--seed {seed}" for seed in batch.seeds],
            shell:
                "crayon --log {log} refine {wildcards.benchmark} {params.runs} {params.seeds} --token {input.token}"


for number, batch in enumerate(PLAN.evaluations):

    rule:
        name:
            f"evaluate_{number}"
        input:
            PLAN.batch_inputs("evaluate", batch),
            token=PLAN.batch_token("evaluate", batch),
        output:
            touch(PLAN.batch_done("evaluate", batch)),
        log:
            f"logs/{PLAN.name}/evaluate/{{benchmark}}/{batch.head}/{batch.seeds[0]}.log",
        benchmark:
            f"logs/{PLAN.name}/evaluate/{{benchmark}}/{batch.head}/{batch.seeds[0]}.tsv"
        wildcard_constraints:
            **constraints(batch),
        group:
            "run" if batch in PLAN.batches else "evaluations"  # a cluster's job of one group runs its parts in turn
        conda:
            "../envs/crayon.yaml"
        threads: SUITE.compute.threads
        resources:
            gpu=PLAN.gpus,
            runtime=more(60),
            mem_mb=more(16000),
        params:
            runs=PLAN.names(batch),
            seeds=[f"--seed {seed}" for seed in batch.seeds],
        shell:
            "crayon --log {log} evaluate {wildcards.benchmark} {params.runs} {params.seeds} --token {input.token}"


rule one_file:  # so that each file of a batch can be asked for by its name: `snakemake runs/...`
    input:
        PLAN.known,
    output:
        update("{folder}/{suite}/{benchmark}/{name}/{seed}/{file}"),
    log:
        "logs/{suite}/one_file/{folder}/{benchmark}/{name}/{seed}/{file}.log",
    wildcard_constraints:
        folder="runs|evaluations",
        name="[^/]+",
        file="[^/]+",
    localrule: True
    conda:
        "../envs/crayon.yaml"
    shell:
        "test -f {output} 2> {log}"


rule evaluate_original:
    input:
        PLAN.inputs("evaluate", run="original"),
        token=PLAN.token("evaluate", run="original"),
    output:
        metrics="evaluations/{suite}/{benchmark}/original/metrics.json",
        record="evaluations/{suite}/{benchmark}/original/record.json",
    log:
        "logs/{suite}/evaluate/{benchmark}/original.log",
    benchmark:
        "logs/{suite}/evaluate/{benchmark}/original.tsv"
    conda:
        "../envs/crayon.yaml"
    threads: SUITE.compute.threads
    resources:
        gpu=PLAN.gpus,
        runtime=more(60),
        mem_mb=more(16000),
    shell:
        "crayon --log {log} evaluate {wildcards.benchmark} original"


rule measure:
    input:
        PLAN.inputs("measure"),
        token=PLAN.token("measure"),
    output:
        seconds="evaluations/{suite}/{benchmark}/runtime.csv",
        record="evaluations/{suite}/{benchmark}/runtime.record.json",
    log:
        "logs/{suite}/measure/{benchmark}.log",
    benchmark:
        "logs/{suite}/measure/{benchmark}.tsv"
    conda:
        "../envs/crayon.yaml"
    threads: workflow.cores  # alone, so that nothing else is in the way of what is timed
    resources:
        gpu=PLAN.gpus,
        runtime=more(480),
        mem_mb=more(24000),
    shell:
        "crayon --log {log} measure {wildcards.benchmark}"
