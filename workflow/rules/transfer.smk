# The transfer study's networks: their pretrained backbones, and their Originals, models/<suite>/<benchmark>/transfer/<number>/.


rule pretrain_transfer:
    input:
        token=PLAN.token("pretrain", network="transfer"),
    output:
        model="models/{suite}/transfer/pretrained.safetensors",
        record="models/{suite}/transfer/pretrained.record.json",
    log:
        "logs/{suite}/pretrain/transfer.log",
    benchmark:
        "logs/{suite}/pretrain/transfer.tsv"
    conda:
        "../envs/crayon.yaml"
    threads: SUITE.compute.threads
    resources:
        gpu=PLAN.gpus,
        runtime=more(60),
        mem_mb=more(8000),
    shell:
        "crayon --log {log} pretrain --transfer"


rule pretrain_further:
    input:
        token=PLAN.token("pretrain"),
    output:
        model="models/{suite}/transfer/{network}/pretrained.safetensors",
        record="models/{suite}/transfer/{network}/pretrained.record.json",
    log:
        "logs/{suite}/pretrain/{network}.log",
    benchmark:
        "logs/{suite}/pretrain/{network}.tsv"
    conda:
        "../envs/crayon.yaml"
    threads: SUITE.compute.threads
    resources:
        gpu=PLAN.gpus,
        runtime=more(60),
        mem_mb=more(8000),
    shell:
        "crayon --log {log} pretrain --further {wildcards.network}"


for number, batch in enumerate(PLAN.batches):
    if not PLAN.refines(batch):

        rule:
            name:
                f"original_transfer_{number}"
            input:
                PLAN.inputs("original", original=str(batch.seeds[0])),
                token=PLAN.token("original", original=str(batch.seeds[0])),
            output:
                model=expand(
                    "models/{{suite}}/{{benchmark}}/transfer/{number}/original.safetensors", number=batch.seeds
                ),
                history=expand("models/{{suite}}/{{benchmark}}/transfer/{number}/history.csv", number=batch.seeds),
                record=expand("models/{{suite}}/{{benchmark}}/transfer/{number}/record.json", number=batch.seeds),
            log:
                f"logs/{{suite}}/original/{{benchmark}}/{batch.seeds[0]}.log",
            benchmark:
                f"logs/{{suite}}/original/{{benchmark}}/{batch.seeds[0]}.tsv"
            wildcard_constraints:
                benchmark="|".join(batch.benchmarks),
            conda:
                "../envs/crayon.yaml"
            threads: SUITE.compute.threads
            resources:
                gpu=PLAN.gpus,
                runtime=more(720),
                mem_mb=more(24000),
            params:
                numbers=[f"--transfer {number}" for number in batch.seeds],
            shell:
                "crayon --log {log} original {wildcards.benchmark} {params.numbers}"
