select tenant_id, tenant_name, industry
from {{ source('registry', 'tenants') }}
