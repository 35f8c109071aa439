# What compared methods start from: auxiliary/<suite>/<benchmark>/. The biased network that SoftCon and FLAC take features
# from, and the predictions whose mistakes JtT and CnC learn from.


rule auxiliary:
    input:
        PLAN.inputs("auxiliary"),
        token=PLAN.token("auxiliary"),
    output:
        model="auxiliary/{suite}/{benchmark}/bagnet/model.safetensors",
        history="auxiliary/{suite}/{benchmark}/bagnet/history.csv",
        bias_features="auxiliary/{suite}/{benchmark}/bagnet/features.npy",
        record="auxiliary/{suite}/{benchmark}/bagnet/record.json",
    log:
        "logs/{suite}/auxiliary/{benchmark}.log",
    benchmark:
        "logs/{suite}/auxiliary/{benchmark}.tsv"
    priority: 50
    conda:
        "../envs/crayon.yaml"
    threads: SUITE.compute.threads
    resources:
        gpu=PLAN.gpus,
        runtime=more(480),
        mem_mb=more(24000),
    shell:
        "crayon --log {log} auxiliary {wildcards.benchmark}"


rule stage_one:
    input:
        PLAN.inputs("stage_one"),
        token=PLAN.token("stage_one"),
    output:
        stage_one="auxiliary/{suite}/{benchmark}/stage_one/logits.npy",
        history="auxiliary/{suite}/{benchmark}/stage_one/history.csv",
        record="auxiliary/{suite}/{benchmark}/stage_one/record.json",
    log:
        "logs/{suite}/stage_one/{benchmark}.log",
    benchmark:
        "logs/{suite}/stage_one/{benchmark}.tsv"
    priority: 50
    conda:
        "../envs/crayon.yaml"
    threads: SUITE.compute.threads
    resources:
        gpu=PLAN.gpus,
        runtime=more(480),
        mem_mb=more(24000),
    shell:
        "crayon --log {log} stage-one {wildcards.benchmark}"
