# The pretrained backbone, and the Original of each benchmark: models/<suite>/.


rule pretrain:
    input:
        token=PLAN.token("pretrain"),
    output:
        model="models/{suite}/pretrained.safetensors",
        record="models/{suite}/pretrained.record.json",
    log:
        "logs/{suite}/pretrain.log",
    benchmark:
        "logs/{suite}/pretrain.tsv"
    priority: 100
    conda:
        "../envs/crayon.yaml"
    threads: SUITE.compute.threads
    resources:
        gpu=PLAN.gpus,
        runtime=more(60),
        mem_mb=more(8000),
    shell:
        "crayon --log {log} pretrain"


rule original:
    input:
        PLAN.inputs("original"),
        token=PLAN.token("original"),
    output:
        model="models/{suite}/{benchmark}/original.safetensors",
        history="models/{suite}/{benchmark}/history.csv",
        record="models/{suite}/{benchmark}/record.json",
    log:
        "logs/{suite}/original/{benchmark}.log",
    benchmark:
        "logs/{suite}/original/{benchmark}.tsv"
    priority: 90
    conda:
        "../envs/crayon.yaml"
    threads: SUITE.compute.threads
    resources:
        gpu=PLAN.gpus,
        runtime=more(720),
        mem_mb=more(24000),
    shell:
        "crayon --log {log} original {wildcards.benchmark}"
