select
    devices.tenant_id,
    devices.site_id,
    devices.device_id,
    device_model_metrics.metric,
    metrics.unit,
    device_model_metrics.unit_factor,
    device_model_metrics.unit_offset,
    device_model_metrics.interval_seconds,
    -- how long a value stands for what comes after it
    coalesce(2 * device_model_metrics.interval_seconds, 86400) as hold_seconds,
    device_model_metrics.valid_min,
    device_model_metrics.valid_max,
    device_model_metrics.max_change_per_minute,
    device_model_metrics.rolls_over_at,
    device_model_metrics.stuck_after_minutes
from {{ source('registry', 'devices') }} as devices
inner join {{ source('registry', 'device_model_metrics') }} as device_model_metrics
    on devices.model_id = device_model_metrics.model_id
inner join {{ source('registry', 'metrics') }} as metrics on device_model_metrics.metric = metrics.metric
