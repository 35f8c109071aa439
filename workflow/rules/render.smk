# Tables and figures: results/. They are of the active suite, and say so.
# On a cluster they are made where Snakemake runs (seconds each), so that a table is shown to who waits for it.


localrules:
    answers,
    provenance,
    table1,
    controls,
    table2,
    table3,
    figure4,
    figure_order,
    figure5,
    runtime,
    attention,
    figure2,
    figure3,
    page,


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
        table=report(
            "results/table1.csv",
            caption="../../crayon/report/captions/table1.rst",
            category="Tables",
        ),
        markdown="results/table1.md",
        latex="results/table1.tex",
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
        table=report(
            "results/controls.csv",
            caption="../../crayon/report/captions/controls.rst",
            category="Tables",
        ),
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


rule table2:
    input:
        PLAN.inputs("table2"),
        token=PLAN.token("table2"),
    output:
        table=report(
            "results/table2.csv",
            caption="../../crayon/report/captions/table2.rst",
            category="Tables",
        ),
        markdown="results/table2.md",
        record="results/table2.record.json",
    log:
        f"logs/{PLAN.name}/table2.log",
    benchmark:
        f"logs/{PLAN.name}/table2.tsv"
    conda:
        "../envs/crayon.yaml"
    shell:
        "crayon --log {log} render table2 --show"


rule table3:
    input:
        PLAN.inputs("table3"),
        token=PLAN.token("table3"),
    output:
        table=report(
            "results/table3.csv",
            caption="../../crayon/report/captions/table3.rst",
            category="Tables",
        ),
        markdown="results/table3.md",
        record="results/table3.record.json",
    log:
        f"logs/{PLAN.name}/table3.log",
    benchmark:
        f"logs/{PLAN.name}/table3.tsv"
    conda:
        "../envs/crayon.yaml"
    shell:
        "crayon --log {log} render table3 --show"


rule figure4:
    input:
        PLAN.inputs("figure4"),
        token=PLAN.token("figure4"),
    output:
        table="results/figure4.csv",
        svg="results/figure4.svg",
        png=report(
            "results/figure4.png",
            caption="../../crayon/report/captions/figure4.rst",
            category="Figures",
        ),
        record="results/figure4.record.json",
    log:
        f"logs/{PLAN.name}/figure4.log",
    benchmark:
        f"logs/{PLAN.name}/figure4.tsv"
    conda:
        "../envs/crayon.yaml"
    shell:
        "crayon --log {log} render figure4"


rule figure_order:
    input:
        PLAN.inputs("figure_order"),
        token=PLAN.token("figure_order"),
    output:
        table="results/figure_order.csv",
        svg="results/figure_order.svg",
        png=report(
            "results/figure_order.png",
            caption="../../crayon/report/captions/figure_order.rst",
            category="Figures",
        ),
        record="results/figure_order.record.json",
    log:
        f"logs/{PLAN.name}/figure_order.log",
    benchmark:
        f"logs/{PLAN.name}/figure_order.tsv"
    conda:
        "../envs/crayon.yaml"
    shell:
        "crayon --log {log} render figure_order"


rule figure5:
    input:
        PLAN.inputs("figure5"),
        token=PLAN.token("figure5"),
    output:
        table="results/figure5.csv",
        svg="results/figure5.svg",
        png=report(
            "results/figure5.png",
            caption="../../crayon/report/captions/figure5.rst",
            category="Figures",
        ),
        record="results/figure5.record.json",
    log:
        f"logs/{PLAN.name}/figure5.log",
    benchmark:
        f"logs/{PLAN.name}/figure5.tsv"
    conda:
        "../envs/crayon.yaml"
    shell:
        "crayon --log {log} render figure5"


rule runtime:
    input:
        PLAN.inputs("runtime"),
        token=PLAN.token("runtime"),
    output:
        table="results/runtime.csv",
        svg="results/figure_runtime.svg",
        png=report(
            "results/figure_runtime.png",
            caption="../../crayon/report/captions/runtime.rst",
            category="Figures",
        ),
        record="results/runtime.record.json",
    log:
        f"logs/{PLAN.name}/runtime.log",
    benchmark:
        f"logs/{PLAN.name}/runtime.tsv"
    conda:
        "../envs/crayon.yaml"
    shell:
        "crayon --log {log} render runtime --show"


rule attention:
    input:
        PLAN.inputs("attention"),
        token=PLAN.token("attention"),
    output:
        table="results/attention.csv",
        markdown="results/attention.md",
        svg="results/attention.svg",
        png=report(
            "results/attention.png",
            caption="../../crayon/report/captions/attention.rst",
            category="Figures",
        ),
        record="results/attention.record.json",
    log:
        f"logs/{PLAN.name}/attention.log",
    benchmark:
        f"logs/{PLAN.name}/attention.tsv"
    conda:
        "../envs/crayon.yaml"
    shell:
        "crayon --log {log} render attention --show"


rule figure2:
    input:
        PLAN.inputs("figure2"),
        token=PLAN.token("figure2"),
    output:
        table="results/figure2.csv",
        svg="results/figure2.svg",
        png=report(
            "results/figure2.png",
            caption="../../crayon/report/captions/figure2.rst",
            category="Figures",
        ),
        record="results/figure2.record.json",
    log:
        f"logs/{PLAN.name}/figure2.log",
    benchmark:
        f"logs/{PLAN.name}/figure2.tsv"
    conda:
        "../envs/crayon.yaml"
    shell:
        "crayon --log {log} render figure2"


rule figure3:
    input:
        PLAN.inputs("figure3"),
        token=PLAN.token("figure3"),
    output:
        table="results/figure3.csv",
        svg="results/figure3.svg",
        png=report(
            "results/figure3.png",
            caption="../../crayon/report/captions/figure3.rst",
            category="Figures",
        ),
        record="results/figure3.record.json",
    log:
        f"logs/{PLAN.name}/figure3.log",
    benchmark:
        f"logs/{PLAN.name}/figure3.tsv"
    conda:
        "../envs/crayon.yaml"
    shell:
        "crayon --log {log} render figure3"


rule before_after:
    input:
        PLAN.inputs("before_after"),
        token=PLAN.token("before_after"),
    output:
        table="results/before_after.csv",
        svg="results/before_after.svg",
        png=report(
            "results/before_after.png",
            caption="../../crayon/report/captions/before_after.rst",
            category="Figures",
        ),
        record="results/before_after.record.json",
    log:
        f"logs/{PLAN.name}/before_after.log",
    benchmark:
        f"logs/{PLAN.name}/before_after.tsv"
    conda:
        "../envs/crayon.yaml"
    resources:
        gpu=PLAN.gpus,
        runtime=more(60),
        mem_mb=more(16000),
    shell:
        "crayon --log {log} render before_after"


rule page:
    input:
        PLAN.inputs("page"),
        token=PLAN.token("page"),
    output:
        page=report(
            "results/report.html",
            caption="../../crayon/report/captions/page.rst",
            category="All on one page",
        ),
        record="results/page.record.json",
    log:
        f"logs/{PLAN.name}/page.log",
    benchmark:
        f"logs/{PLAN.name}/page.tsv"
    conda:
        "../envs/crayon.yaml"
    shell:
        "crayon --log {log} render page"
