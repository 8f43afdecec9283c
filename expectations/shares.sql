-- One row with a column for each expectation that was counted: Great Expectations asks for all of them at once.
-- DuckDB takes names that differ only in case for the same, keys are not: the second gets a number.
create table gate.named_shares as
select
    expectation,
    expectation || if(place > 1, ' (' || place || ')', '') as column_name,
    share
from (
    select expectation, share, row_number() over (partition by lower(expectation) order by expectation) as place
    from gate.counts
);

create table gate.shares as
pivot (select column_name, share from gate.named_shares) on column_name using max(share);
