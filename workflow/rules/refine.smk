# Refinements, runs/<suite>/<benchmark>/<method or control>/<seed>/, and their metrics under evaluations/.
# A rule serves the seeds of one group (seeds_per_job), because a process start costs more than a miniature's training.


for number, seeds in enumerate(SUITE.chunks()):

    rule:
        name:
            f"refine_{number}"
        input:
            PLAN.needs,
            token=PLAN.token("refine", seeds=seeds),
            manifest="data/{suite}/{benchmark}/manifest.csv",
            images="data/{suite}/{benchmark}/images.npy",
            masks="data/{suite}/{benchmark}/masks.npy",
            model="models/{suite}/{benchmark}/original.safetensors",
        output:
            last=expand("runs/{{suite}}/{{benchmark}}/{{run}}/{seed}/last.safetensors", seed=seeds),
            selected=expand("runs/{{suite}}/{{benchmark}}/{{run}}/{seed}/selected.safetensors", seed=seeds),
            history=expand("runs/{{suite}}/{{benchmark}}/{{run}}/{seed}/history.csv", seed=seeds),
            record=expand("runs/{{suite}}/{{benchmark}}/{{run}}/{seed}/record.json", seed=seeds),
        log:
            f"logs/{{suite}}/refine/{{benchmark}}/{{run}}/{seeds[0]}.log",
        benchmark:
            f"logs/{{suite}}/refine/{{benchmark}}/{{run}}/{seeds[0]}.tsv"
        conda:
            "../envs/crayon.yaml"
        threads: SUITE.compute.threads
        resources:
            gpu=PLAN.gpus,
        params:
            seeds=[f"--seed {seed}" for seed in seeds],
        shell:
            "crayon --log {log} refine {wildcards.benchmark} {wildcards.run} {params.seeds}"

    rule:
        name:
            f"evaluate_{number}"
        input:
            token=PLAN.token("evaluate", seeds=seeds),
            manifest="data/{suite}/{benchmark}/manifest.csv",
            images="data/{suite}/{benchmark}/images.npy",
            masks="data/{suite}/{benchmark}/masks.npy",
            last=expand("runs/{{suite}}/{{benchmark}}/{{run}}/{seed}/last.safetensors", seed=seeds),
            selected=expand("runs/{{suite}}/{{benchmark}}/{{run}}/{seed}/selected.safetensors", seed=seeds),
            history=expand("runs/{{suite}}/{{benchmark}}/{{run}}/{seed}/history.csv", seed=seeds),
        output:
            metrics=expand("evaluations/{{suite}}/{{benchmark}}/{{run}}/{seed}/metrics.json", seed=seeds),
            record=expand("evaluations/{{suite}}/{{benchmark}}/{{run}}/{seed}/record.json", seed=seeds),
        log:
            f"logs/{{suite}}/evaluate/{{benchmark}}/{{run}}/{seeds[0]}.log",
        benchmark:
            f"logs/{{suite}}/evaluate/{{benchmark}}/{{run}}/{seeds[0]}.tsv"
        conda:
            "../envs/crayon.yaml"
        threads: SUITE.compute.threads
        resources:
            gpu=PLAN.gpus,
        params:
            seeds=[f"--seed {seed}" for seed in seeds],
        shell:
            "crayon --log {log} evaluate {wildcards.benchmark} {wildcards.run} {params.seeds}"


rule evaluate_original:
    input:
        token=PLAN.token("evaluate", run="original"),
        manifest="data/{suite}/{benchmark}/manifest.csv",
        images="data/{suite}/{benchmark}/images.npy",
        masks="data/{suite}/{benchmark}/masks.npy",
        model="models/{suite}/{benchmark}/original.safetensors",
        history="models/{suite}/{benchmark}/history.csv",
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
    shell:
        "crayon --log {log} evaluate {wildcards.benchmark} original"
