-- when a site's touched local days begin and end
select
    sites.tenant_id,
    sites.site_id,
    days.day,
    {{ to_utc('days.day', 'sites.timezone') }} as day_start,
    {{ to_utc('(days.day + 1)', 'sites.timezone') }} as day_end
from {{ source('registry', 'sites') }} as sites
inner join {{ source('build', 'touched_days') }} as days on sites.tenant_id = days.tenant_id
