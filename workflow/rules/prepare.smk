"""These rules prepare scans, step by step.

A step that fails writes a receipt with the reason (resource last_attempt, workflow/scripts/_job.py),
and so do the steps after it and the pairs of the scan. The others go on. The first step that reads
a scan refuses a label map in its place (resource looks_at_scan, workflow/scripts/_recognised.py).
Both are resources and no params, because they change no result of a step that succeeds.
"""


include: "functions/prepare.smk"


rule cohort:
    """Make the scans of a virtual cohort. No person was scanned."""
    input:
        # this function reads no file, but Snakemake calls it, so existing results are checked first
        lambda w: [],
    output:
        SOURCE,
    log:
        logs("cohort", "{dataset}"),
    benchmark:
        benchmarks("cohort", "{dataset}")
    priority: LONG
    threads: 4
    resources:
        mem_mb=lambda w, attempt, threads: (1000 + 500 * threads) * attempt,
    params:
        cohort=lambda w: STUDY.datasets()[w.dataset].cohort,
        code=code("cohort"),
    message:
        "making the cohort {wildcards.dataset}"
    script:
        "../scripts/cohort.py"


# The costly steps declare both files of their unit as outputs, so that Snakemake can keep them in
# its cache between workflows; a rule with such a cache cannot have a benchmark.
rule strip:
    """Find the brain in a whole head."""
    input:
        unpack(to_strip),
    output:
        receipt=BRAIN,
        mask=f"{SCAN}/brain/mask.nii.gz",
    log:
        logs("strip", "{dataset}", "{scan}"),
    cache: "omit-software"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        last_attempt=lambda w, attempt: int(attempt > INTERNALS.retries),
        looks_at_scan=lambda w: int(is_looked_at(w)),
    params:
        scan=lambda w: strip_fields(scan_of(w)),
        choices=step_params("brain"),
        reads=step_reads("strip"),
        code=step_code("strip"),
    message:
        "finding the brain of {wildcards.dataset} {wildcards.scan}"
    script:
        "../scripts/strip.py"


rule correct:
    """Correct the intensities for the bias field of the coil."""
    input:
        unpack(to_correct),
    output:
        receipt=CORRECTED,
        image=f"{SCAN}/corrected/image.nii.gz",
    log:
        logs("correct", "{dataset}", "{scan}"),
    cache: "omit-software"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 3000 * attempt,
        last_attempt=lambda w, attempt: int(attempt > INTERNALS.retries),
        looks_at_scan=lambda w: int(is_looked_at(w)),
    params:
        scan=lambda w: image_fields(scan_of(w)),
        choices=step_params("bias", "intensity"),
        reads=step_reads("correct"),
        code=step_code("correct"),
    message:
        "correcting the intensities of {wildcards.dataset} {wildcards.scan}"
    script:
        "../scripts/correct.py"


rule place:
    """Find the affine map from the template's space to the scan."""
    input:
        unpack(to_place),
    output:
        receipt=PLACED,
        to_scan=f"{SCAN}/placed/to_scan.txt",
    log:
        logs("place", "{dataset}", "{scan}"),
    cache: "omit-software"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 3000 * attempt,
        last_attempt=lambda w, attempt: int(attempt > INTERNALS.retries),
        looks_at_scan=lambda w: int(is_looked_at(w)),
    params:
        scan=lambda w: image_fields(scan_of(w)),
        t1w=t1w_fields,
        choices=step_params("template"),
        seed=STUDY.seed,
        reads=step_reads("place"),
        code=step_code("place"),
    message:
        "placing {wildcards.dataset} {wildcards.scan}"
    script:
        "../scripts/place.py"


rule prepare:
    """Write the scan that registrations read; it is resampled at most once."""
    input:
        unpack(to_prepare),
    output:
        PREPARED,
    log:
        logs("prepare", "{dataset}", "{scan}"),
    benchmark:
        benchmarks("prepare", "{dataset}", "{scan}")
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 3000 * attempt,
        last_attempt=lambda w, attempt: int(attempt > INTERNALS.retries),
        looks_at_scan=lambda w: int(is_looked_at(w)),
    params:
        scan=lambda w: scan_fields(scan_of(w)),
        choices=step_params("intensity", "spacing_mm"),
        seed=STUDY.seed,
        reads=step_reads("prepare"),
        code=step_code("prepare"),
    message:
        "preparing {wildcards.dataset} {wildcards.scan}"
    script:
        "../scripts/prepare.py"


rule segment:
    """Segment a prepared scan."""
    input:
        unpack(to_segment),
    output:
        receipt=SEGMENTED,
        labels=f"{SCAN}/segmented/labels.nii.gz",
    log:
        logs("segment", "{dataset}", "{scan}"),
    cache: "omit-software"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        last_attempt=lambda w, attempt: int(attempt > INTERNALS.retries),
    params:
        scan=lambda w: image_fields(scan_of(w)),
        choices=step_params("labels"),
        reads=step_reads("segment"),
        code=step_code("segment"),
    message:
        "segmenting {wildcards.dataset} {wildcards.scan}"
    script:
        "../scripts/segment.py"
