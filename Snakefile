"""A registration study, from scans to tables, figures and a report; docs/workflow.md says how it works."""

from snakemake.utils import min_version

min_version("9.20")


configfile: f"{workflow.basedir}/config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/targets.smk"
include: "workflow/rules/mend.smk"
include: "workflow/rules/download.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/quality.smk"
include: "workflow/rules/pairs.smk"
include: "workflow/rules/networks.smk"
include: "workflow/rules/descriptors.smk"
include: "workflow/rules/register.smk"
include: "workflow/rules/statistics.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/longitudinal.smk"
include: "workflow/rules/storage.smk"
include: "workflow/rules/report.smk"


# for every rule with a script: its environment, and a look at what is there before its inputs are
# asked for
INTERNALS.complete_rules(ENVIRONMENT, mended)


# every file a user owns is listed, so that one that is lost or damaged comes back
rule all:
    default_target: True
    input:
        inspected(everything),
        VERDICT,
    message:
        "everything of the study is there"
