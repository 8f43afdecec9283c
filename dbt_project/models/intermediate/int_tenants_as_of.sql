select tenant_id, max(day) as as_of_day
from {{ ref('cube_fleet_daily') }}
where reading_count > 0 and day <= current_date
group by tenant_id
