"""S3 and servers that speak its protocol, through boto3 and the usual AWS settings."""
