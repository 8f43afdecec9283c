-- What the gate checked, and what did not hold
-- quality_results has one row per build and rule; these are the rules that were broken in the latest builds.
select
    build_id,
    rule,
    severity,
    checked_count,
    unexpected_count,
    unexpected_count / nullif(checked_count, 0) as share,
    why
from quality_results
where unexpected_count > 0
order by build_id desc, severity, share desc
limit 200
