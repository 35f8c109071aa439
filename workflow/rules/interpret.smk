# What the Original looks at: interpretations/<suite>/<benchmark>/.


rule interpret:
    input:
        PLAN.inputs("interpret"),
        token=PLAN.token("interpret"),
    output:
        maps="interpretations/{suite}/{benchmark}/maps.npy",
        logits="interpretations/{suite}/{benchmark}/logits.npy",
        patches="interpretations/{suite}/{benchmark}/patches.csv",
        record="interpretations/{suite}/{benchmark}/record.json",
    log:
        "logs/{suite}/interpret/{benchmark}.log",
    benchmark:
        "logs/{suite}/interpret/{benchmark}.tsv"
    priority: 80
    group:
        "labels"
    conda:
        "../envs/crayon.yaml"
    threads: SUITE.compute.threads
    resources:
        gpu=PLAN.gpus,
        runtime=more(60),
        mem_mb=more(24000),
    shell:
        "crayon --log {log} interpret {wildcards.benchmark}"
