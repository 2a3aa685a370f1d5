"""This rule removes what the study does not keep of its registrations."""


localrules:
    reduce,


# The rule is in the plan only where the study keeps less than everything. The key keep is a
# parameter of this rule and of no other, so a study that keeps less than before makes nothing again.
# Registrations of pairs that are not shown one by one are reduced as soon as they were evaluated;
# this rule reduces the others, and those that were made while the study kept more.
rule reduce:
    input:
        readers=readers_of_registrations,
    output:
        STORAGE,
    log:
        logs("reduce", STUDY.name),
    params:
        keep=STUDY.keep,
        units=lambda w: registrations(),
        names=lambda w: [list(unit) for unit in run_units()],
        code=code("reduce"),
    message:
        "removing what the study does not keep"
    script:
        "../scripts/reduce.py"
