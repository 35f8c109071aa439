# Images, packed: data/<suite>/<benchmark>/. They come first: of jobs that are ready, Snakemake starts those with the largest
# inputs, so the largest benchmark, which takes longest, must not be the last one to be ready.


for name, source in PLAN.composed.items():

    rule:
        name:
            f"compose_{name}"
        input:
            token=PLAN.token("compose", benchmark=name),
        output:
            PLAN.licences(name),
            manifest=f"{source['path']}/manifest.csv",
            images=directory(f"{source['path']}/images"),
            masks=directory(f"{source['path']}/masks"),
            record=f"{source['path']}/record.json",
        log:
            f"logs/{PLAN.name}/compose/{name}.log",
        benchmark:
            f"logs/{PLAN.name}/compose/{name}.tsv"
        priority: 96
        conda:
            "../envs/crayon.yaml"
        resources:
            runtime=more(30),
            mem_mb=more(4000),
        params:
            benchmark=name,
        shell:
            "crayon --log {log} compose {params.benchmark}"


rule download:
    input:
        PLAN.inputs("download"),
        token=PLAN.token("download"),
    output:
        manifest="data/{suite}/{benchmark}/manifest.csv",
        images="data/{suite}/{benchmark}/images.npy",
        masks="data/{suite}/{benchmark}/masks.npy",
        record="data/{suite}/{benchmark}/record.json",
    log:
        "logs/{suite}/download/{benchmark}.log",
    benchmark:
        "logs/{suite}/download/{benchmark}.tsv"
    priority: 95
    conda:
        "../envs/crayon.yaml"
    resources:
        cpus_per_task=8,  # on a cluster: images are decoded by as many threads as there are processors
        runtime=more(480),
        mem_mb=more(16000),
    shell:
        "crayon --log {log} download {wildcards.benchmark}"
