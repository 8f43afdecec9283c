-- what a zone's clock shows at a UTC hour
select
    zones.timezone,
    hours.hour_start,
    {{ to_local('hours.hour_start', 'zones.timezone') }} as hour_start_local
from (
    select distinct timezone from {{ source('registry', 'sites') }}
    union
    select 'UTC' as timezone
) as zones
cross join (
    select distinct
        unnest(generate_series(cast(day as timestamp), day + interval 23 hour, interval 1 hour)) as hour_start
    from {{ source('build', 'carried_partitions') }}
) as hours
